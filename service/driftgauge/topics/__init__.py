"""Topics that are read without a consumer group: window results, marks, heartbeats, records of a range."""
