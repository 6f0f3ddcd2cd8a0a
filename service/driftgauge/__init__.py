"""driftgauge monitors embedding drift in real time: from a Kafka topic to a Prometheus gauge."""
