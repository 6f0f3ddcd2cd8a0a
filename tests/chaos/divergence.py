"""Recomputes the divergence of every published revision with SciPy."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from tests.chaos.checks import Check
from tests.chaos.results import PublishedRevision

TOLERANCE: Final = 1e-9


def check_divergences(
    results: Iterable[PublishedRevision], baselines: Mapping[str, NDArray[np.int64]]
) -> Check:
    """Check that each divergence is that of the result's counts from its stream's baseline, base 2.

    Args:
        results: Every revision.
        baselines: The (k,) cluster counts of each stream's baseline.
    """
    check = Check("divergence of every revision, recomputed with SciPy")
    for result in results:
        actual = result.document["js_divergence"]
        what = f"revision {result.revision} of {result.key}"
        check.compare(f"count of {what}", result.document["count"], sum(result.counts))
        if actual is None:
            is_explained = result.document["verdict"] in {"insufficient", "incomplete"}
            check.compare(f"{what} may have no divergence", is_explained, expected=True)
            continue
        expected = float(jensenshannon(result.counts, baselines[result.key[0]], base=2)) ** 2
        found = actual if abs(actual - expected) > TOLERANCE else expected
        check.compare(f"divergence of {what}", found, expected)
    return check
