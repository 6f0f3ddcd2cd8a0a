"""The known name that is nearest to an unknown one, for the errors that name both."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["suggest"]


def suggest(name: str, known: Iterable[str], otherwise: str, *, prefix: str = "") -> str:
    """Return what to do about an unknown name: take the nearest of the known ones, or something else.

    Args:
        name: The unknown name.
        known: The known names.
        otherwise: What to do if none of them is near.
        prefix: What all these names begin with, which makes none of them nearer.
    """
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {prefix}{close[0]}?" if close else otherwise
