"""From commits to windows: a shard's state, event time, closing, judging."""
