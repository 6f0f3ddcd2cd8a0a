"""Where events come from."""

__all__ = ["Partition"]

Partition = tuple[str, int]
"""A partition of the source: its topic and its index."""
