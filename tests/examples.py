"""The number of examples per property test."""

import math

from hypothesis import settings

DEVELOPMENT, FULL = 16, 64
"""Examples of a property without a number of its own, by profile."""


def examples(number: int) -> int:
    """Return `number` in the profile `full`, and in another the profile's share of it.

    Args:
        number: The `max_examples` of a property that needs more or fewer examples than others.
    """
    return math.ceil(number * settings().max_examples / FULL)
