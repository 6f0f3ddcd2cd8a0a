"""Texts within bounds: a sample of those behind vectors, and short forms."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextSample", "shorten"]

# 50,000 texts of 1,000 characters take at most 50 MB as ASCII, and 200 MB with the widest characters. Of a
# baseline of 20 clusters, each is named by about 1,250 of its held-out vectors.
MAX_TEXTS = 50_000
MAX_CHARACTERS = 1_000

_ELLIPSIS = "…"


def shorten(text: str, most: int) -> str:
    """Return a text of at most this many bytes of UTF-8; an ellipsis ends a longer one."""
    content = text.encode()
    if len(content) <= most:
        return text
    return f"{content[: most - len(_ELLIPSIS.encode())].decode(errors='ignore').rstrip()}{_ELLIPSIS}"


class TextSample:
    """The beginnings of the texts of vectors: of all, or of 50,000 chosen at random.

    The sample of a reservoir (J. S. Vitter, Random sampling with a reservoir, ACM TOMS 11, 1985, algorithm
    R), so the number of vectors need not be known. The same texts in the same order give the same sample.
    """

    def __init__(self) -> None:
        self._sampled: list[tuple[int, str]] = []
        self._random = np.random.default_rng(0)
        self._rows = self._texts = 0

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> "TextSample":
        """Return the sample of the texts of n vectors, None for a vector without one."""
        sample = cls()
        sample.add(texts)
        return sample

    def __len__(self) -> int:
        return len(self._sampled)

    def add(self, texts: Iterable[str | None]) -> None:
        """Add the texts of the next vectors, None for a vector without one."""
        for text in texts:
            if text is not None:
                self._sample(text)
            self._rows += 1

    @property
    def rows(self) -> NDArray[np.intp]:
        """The rows of the vectors of the sample, (s,)."""
        return np.array([row for row, _ in self._sampled], np.intp)

    @property
    def texts(self) -> Sequence[str]:
        """Their texts, s of them, of at most 1,000 characters."""
        return [text for _, text in self._sampled]

    def _sample(self, text: str) -> None:
        kept = (self._rows, text[:MAX_CHARACTERS])
        self._texts += 1
        if len(self._sampled) < MAX_TEXTS:
            self._sampled.append(kept)
        elif (place := int(self._random.integers(self._texts))) < MAX_TEXTS:
            self._sampled[place] = kept
