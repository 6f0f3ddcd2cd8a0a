"""The target power, for which the least detectable drift and the least count are given."""

__all__ = ["POWER"]

POWER = 0.8
"""The probability that a window with drift worth finding is significant."""
