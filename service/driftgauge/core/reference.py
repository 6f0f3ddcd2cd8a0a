"""What a stream's windows are compared with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.assignment import Centroids

__all__ = ["MissingBaselineError", "Reference", "References"]

_KEY_CHARACTERS = 16


class MissingBaselineError(LookupError):
    """A baseline that is counted against is not to be had. It may be on its way."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A frozen baseline, as far as counting and comparing need it.

    Attributes:
        baseline_id: Its identity.
        centroids: Its centroids, k of them.
        counts: (k,) int64, its histogram.
        content: Its file, for those who must count against it and were not given one.
    """

    baseline_id: str
    centroids: Centroids
    counts: NDArray[np.int64]
    content: bytes

    @property
    def key(self) -> str:
        """As much of the identity as tells baselines apart, to stand in the keys of the state."""
        return self.baseline_id.removeprefix("sha256:")[:_KEY_CHARACTERS]


References = Callable[[str], Reference | None]
"""Finds a baseline by its key; None where it is not to be had."""
