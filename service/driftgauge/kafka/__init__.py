"""Everything that speaks to Kafka: the consumer loop, its state, what it writes."""
