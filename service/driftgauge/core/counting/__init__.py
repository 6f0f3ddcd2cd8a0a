"""The COUNT stage: batches of events to the deltas of one commit interval, by stream and pane."""
