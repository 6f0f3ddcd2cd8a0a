"""Both stages as they run: a thread a role, one session after another over its Kafka clients."""
