"""How many examples a property is tried on."""

import math

from hypothesis import settings

DEVELOPMENT, FULL = 25, 100
"""Examples of a property that names no number, by profile."""


def examples(number: int) -> int:
    """Return `number` in the profile `full`, and the profile's share of it in another.

    Args:
        number: For `max_examples`, where a property needs more or fewer examples than others.
    """
    return math.ceil(number * settings().max_examples / FULL)
