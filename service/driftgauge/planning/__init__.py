"""What `driftgauge plan` says."""
