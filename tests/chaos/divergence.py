"""Every published revision's divergence, worked out again by another library from its counts."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from tests.chaos.results import PublishedRevision
from tests.chaos.verdict import Check

TOLERANCE: Final = 1e-9


def check_divergences(
    results: Iterable[PublishedRevision], baselines: Mapping[str, NDArray[np.int64]]
) -> Check:
    """Each result's divergence is that of its counts from its stream's baseline, base 2.

    Args:
        results: Every revision.
        baselines: The (k,) events of each cluster in each stream's baseline.
    """
    check = Check("divergence of every revision, worked out by scipy")
    for result in results:
        said = result.document["js_divergence"]
        what = f"revision {result.revision} of {result.key}"
        check.compare(f"count of {what}", result.document["count"], sum(result.counts))
        if said is None:
            is_explained = result.document["verdict"] in {"insufficient", "incomplete"}
            check.compare(f"{what} may have no divergence", is_explained, expected=True)
            continue
        right = float(jensenshannon(result.counts, baselines[result.key[0]], base=2)) ** 2
        found = said if abs(said - right) > TOLERANCE else right
        check.compare(f"divergence of {what}", found, right)
    return check
