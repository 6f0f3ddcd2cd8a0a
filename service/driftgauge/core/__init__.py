"""Counting and comparing, numpy only: no Kafka, no Prometheus, no clock, no files."""
