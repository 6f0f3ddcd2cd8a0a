"""Tests of `driftgauge.baseline.quality`."""

import dataclasses

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.quality import notes
from driftgauge.core.counting.hashing import HASH_BINS
from tests.builders.baselines import with_metadata


def counted(baseline: Baseline, *counts: int) -> Baseline:
    metadata = baseline.metadata.model_copy(update={"reference_count": sum(counts)})
    return dataclasses.replace(baseline, metadata=metadata, counts=np.array(counts, dtype=np.int64))


def of_items(baseline: Baseline, items: int) -> Baseline:
    """The baseline, of 10,000 vectors of so many items."""
    random = np.random.default_rng(0)
    hashes = random.integers(HASH_BINS, size=items)[np.arange(10_000) % items]
    arrays = {**baseline.arrays, "hash_counts": np.bincount(hashes, minlength=HASH_BINS)}
    return dataclasses.replace(with_metadata(baseline, stability=0.9), arrays=arrays)


def test_notes_name_weakness_and_remedy(baseline: Baseline, full_baseline: Baseline) -> None:
    sound = of_items(full_baseline, 10_000)
    assert notes(sound) == []
    for weak, part, remedy in (
        (with_metadata(sound, training_set=True), "The model was trained on this reference", "has not seen"),
        (of_items(baseline, 10_000), "not calibrated for bursts", "events with timestamps"),
        (
            counted(sound, *[99] * 6),
            "small: it counts 594 vectors. Its noise adds 5% to that of a window of 30 events",
            "Fit on 1,200 vectors or more",
        ),
        (of_items(full_baseline, 200), "only from 7.1%", "Set smallest_drift.duplicates above"),
        (with_metadata(sound, stability=0.5), "clusters depend on the seed", "Fewer clusters"),
    ):
        (note,) = notes(weak)
        assert part in note
        assert remedy in note
    small = counted(with_metadata(baseline, stability=None), 1, 1, 1, 1, 1, 995)
    assert "5 of the clusters are tiny (0, 1, 2, 3, 4)" in notes(small)[-1]
