"""Codecs of the internal topics' records: the partials between the two stages, and the shards' changelogs."""
