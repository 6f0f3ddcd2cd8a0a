"""Baselines small enough to look at, shared by the tests that only read them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline, ClusterDescription, save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.baselines import HOSTILE_NAMES
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.references import build_segment_arrays

CONFIDENCE = Number("confidence", 0.0, 1.0)
OTHERS = {"novelty": np.array([1.5]), "spread": np.array([2.0, 2.5, 2.25])}


@pytest.fixture(scope="session")
def blobs() -> NDArray[np.float32]:
    """1,200 vectors of 8 floats around 6 centres of different weight."""
    random = np.random.default_rng(7)
    centres = random.normal(scale=4, size=(6, 8))
    weights = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    vectors = centres[random.choice(6, 1_200, p=weights)] + random.normal(size=(1_200, 8))
    return vectors.astype(np.float32)


@pytest.fixture(scope="session")
def baseline(blobs: NDArray[np.float32]) -> Baseline:
    return fit_baseline(
        blobs,
        stream="resnet18-fc1",
        model_version="v1",
        clusters=6,
        seed=3,
        created_ms=MONDAY_MS,
        progress=lambda _: None,
    )


@pytest.fixture(scope="session")
def full_baseline(baseline: Baseline) -> Baseline:
    """The baseline with overdispersion, segments and descriptions of its clusters."""
    components = len(baseline.variances)
    means = np.eye(components) * 1.5
    means[0, 0] = 3
    means[0, 1] = means[1, 0] = 0.5
    spreads = tuple(map(tuple, baseline.arrays["spread_moments"].T.tolist()))
    segments = tuple(
        SegmentReference(
            key=key,
            value=value,
            counts=baseline.counts // part,
            mean=np.linspace(-0.1, 0.1, components) * part,
            covariance=np.diag(baseline.variances) / part,
            arrays=build_segment_arrays(7 * part, (spreads[0],) if value == "xl" else spreads),
            overdispersion=Overdispersion(25, 3.5, 2 * means, OTHERS) if value == "de" else None,
        )
        for key, value, part in (("country", "de", 4), ("country", "other", 2), ("größe", "xl", 3))
    )
    others = {
        **OTHERS,
        "duplicates": np.array([3.0]),
        "relations": np.linspace(1, 2, 72),
        "minor_shift": np.linspace(1, 2, 96),
    }
    return dataclasses.replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"window_ms": HOUR_MS}),
        overdispersion=Overdispersion(40, 2.25, means, others),
        segments=segments,
        descriptions=tuple(
            ClusterDescription(
                name=name, example_ids=(f"köln-{number}", name or "-"), example_texts=("", "a")
            )
            for number, name in enumerate((*HOSTILE_NAMES, None))
        ),
        numbers={"confidence": NumberTally(CONFIDENCE, np.arange(30).reshape(5, 6), between=0.015625)},
        farthest=ExampleDescription(example_ids=("far", "köln-0"), example_texts=("größe", "<b>")),
    )


@pytest.fixture
def path(baseline: Baseline, tmp_path: Path) -> Path:
    path = tmp_path / "stream.safetensors"
    save(baseline, path)
    return path
