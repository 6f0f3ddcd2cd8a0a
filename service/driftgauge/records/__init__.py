"""What is written to topics: partials between the two stages, the shards' changelogs, window results."""
