"""What is configured for streams, by the name of one or by a pattern that many names match."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

__all__ = ["ByStream"]

_T = TypeVar("_T")


class ByStream(Mapping[str, _T]):
    """The entries by stream; a key with * holds for every stream that matches and has no key of its own.

    The characters of names are literal in a pattern, and * stands for any number of them. Of several patterns
    the first that matches holds.

    Attributes:
        names: The keys that are the names of streams.
    """

    def __init__(self, entries: Mapping[str, _T]) -> None:
        self._entries = entries
        self.names = frozenset(key for key in entries if "*" not in key)
        self._patterns = [key for key in entries if key not in self.names]

    def __getitem__(self, stream: str) -> _T:
        """Return the entry of a stream; KeyError if it has none."""
        if stream in self.names:
            return self._entries[stream]
        for pattern in self._patterns:
            if fnmatchcase(stream, pattern):
                return self._entries[pattern]
        raise KeyError(stream)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys, names and patterns."""
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
