"""Tests of `driftgauge.baseline.quality`."""

import dataclasses

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.quality import notes
from driftgauge.core.counting.hashing import HASH_BINS
from tests.builders.baselines import with_metadata


def counted(baseline: Baseline, *counts: int) -> Baseline:
    metadata = baseline.metadata.model_copy(update={"reference_count": sum(counts)})
    hashes = np.pad(np.array(counts, dtype=np.int64), (0, HASH_BINS - len(counts)))
    arrays = {**baseline.arrays, "hash_counts": hashes}
    return dataclasses.replace(baseline, metadata=metadata, counts=hashes[: len(counts)], arrays=arrays)


def test_notes_name_weakness_and_remedy(baseline: Baseline, full_baseline: Baseline) -> None:
    assert notes(with_metadata(full_baseline, stability=0.9)) == []
    for weak, part, remedy in (
        (
            with_metadata(full_baseline, stability=0.9, training_set=True),
            "The model was trained on this reference",
            "has not seen",
        ),
        (with_metadata(baseline, stability=0.9), "not calibrated for bursts", "events with timestamps"),
        (
            with_metadata(counted(full_baseline, *[99] * 6), stability=0.9),
            "small: it counts 594 vectors. At a level of 1 % a window of 30 events finds a shift of",
            "Fit on 1,200 vectors or more",
        ),
        (with_metadata(full_baseline, stability=0.5), "clusters depend on the seed", "Fewer clusters"),
    ):
        (note,) = notes(weak)
        assert part in note
        assert remedy in note
    small = counted(with_metadata(baseline, stability=None), 1, 1, 1, 1, 1, 995)
    assert "5 of the clusters are tiny (0, 1, 2, 3, 4)" in notes(small)[1]
