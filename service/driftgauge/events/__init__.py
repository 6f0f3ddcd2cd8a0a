"""The event contract: what producers send, what consumers receive, and the decoder between."""
