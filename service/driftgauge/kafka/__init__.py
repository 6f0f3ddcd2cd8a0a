"""Kafka's clients: their configuration, logins and rights, metadata, topics and offsets."""
