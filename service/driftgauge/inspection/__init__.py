"""What the service makes of single records, field by field: for setting up a topic's mapping."""
