"""The functions of scipy.special, which is imported when the first of them is used.

The import takes a quarter of a start's processor time, and a replica needs it for its first window.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Return the function of scipy.special with this name."""
    if name.startswith("__"):
        raise AttributeError(name)
    found = getattr(import_module("scipy.special"), name)
    globals()[name] = found
    return found
