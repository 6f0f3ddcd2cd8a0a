"""Counting and comparing, numpy and scipy.special only: no Kafka, no Prometheus, no clock, no files."""
