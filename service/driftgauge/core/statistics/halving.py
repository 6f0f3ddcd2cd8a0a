"""The search for the least size that a test finds."""

from collections.abc import Callable

__all__ = ["halve"]


def halve(is_enough: Callable[[float], bool], low: float, high: float, steps: int = 20) -> float:
    """Return the least number between two from which on a condition holds; `high` where it never does.

    Args:
        is_enough: The condition; where it holds of a number, it holds of all larger ones.
        low: The lower end.
        high: The upper end.
        steps: How often the interval is halved.
    """
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
