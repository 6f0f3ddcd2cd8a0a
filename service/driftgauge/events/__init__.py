"""The contract of events, and their decoder."""
