"""The contract of events and window results, and the decoder of events."""
