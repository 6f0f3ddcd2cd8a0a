"""The window stage: shard state, event time, window closing, scores and verdicts."""
