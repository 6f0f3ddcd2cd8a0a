"""Event counting, windowing and drift statistics on numpy and scipy.special: no Kafka, clock or files."""
