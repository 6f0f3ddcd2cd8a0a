"""The Kafka side of the service: consumers, transactions, internal topics and the two roles' loops."""
