"""The records of the internal topics: partials between the two stages, and each shard's changelog."""
