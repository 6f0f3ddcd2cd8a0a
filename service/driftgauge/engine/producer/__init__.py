"""The transactions of a role, and the producer that each of them has."""
