"""Planning of window lengths, for `driftgauge plan`."""
