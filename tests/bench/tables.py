"""Tables in Markdown, a row at a time, and the means that stand in them."""

import math
from collections.abc import Sequence

import numpy as np
from tests.output import say


def say_row(*cells: object) -> None:
    """Print a row of a table."""
    say(f"| {' | '.join(map(str, cells))} |")


def say_header(*names: object) -> None:
    """Print the first two lines of a table."""
    say_row(*names)
    say("|---" * len(names) + "|")


def mean_and_error(values: Sequence[float]) -> str:
    """Return the mean of splits, and in brackets its standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.3f} [{error:.3f}]"
