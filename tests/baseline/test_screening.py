"""What a fit says of its vectors: rows that would spoil a baseline, copies, and changes within them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftgauge.baseline.change import report_change
from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.baseline.screening import count_beyond_gap, count_copies, find_odd_rows
from driftgauge.baseline.windows import Traffic
from driftgauge.errors import BaselineError
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.streams import to_reference
from tests.builders.baselines import fit
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS

SEEDS = st.integers(0, 2**32 - 1)


def tail(power: float, count: int) -> NDArray[np.float64]:
    """The expected order statistics of a power law; of an exponential distribution, where the power is 0."""
    logarithms = np.cumsum(1 / np.arange(count, 0, -1.0))
    return np.exp(logarithms / power) if power else logarithms


@given(SEEDS, st.sampled_from([0, 1.0, 2.0, 3.0, 10.0]), st.integers(220, 3_000), st.integers(0, 20))
def test_rows_beyond_gap_are_counted(seed: int, power: float, count: int, planted: int) -> None:
    random = np.random.default_rng(seed)
    distances = tail(power, count)
    # In a tail of power 1 and 220 rows, one row beyond e^26 times all others lies beyond a gap; of fewer
    # rows the gap must be wider.
    factor = 1.6 * np.exp(13 * (1 + 1 / max(planted, 1)) / (power or 3))
    distances = np.append(distances, distances[-1] * factor * random.uniform(1, 3, size=planted))
    found = count_beyond_gap(random.permutation(distances) * random.uniform(1e-6, 1e6), 25)
    assert found == planted


@pytest.mark.parametrize("power", [1.0, 3.0, 8.0])
def test_tail_of_random_distances_has_no_gap(power: float) -> None:
    random = np.random.default_rng(0)
    # A gap that chance makes cuts off several rows as often as one. Of 1,000 tails one at most has a gap.
    heavy = [1 + random.pareto(power, size=count) for count in (150, 220, 400, 1_000) * 250]
    light = [np.linalg.norm(random.normal(size=(count, 8)), axis=1) for count in range(0, 1_000, 100)]
    for tails in (heavy, light):
        assert sum(count_beyond_gap(each, len(each) // 20) > 0 for each in tails) <= len(tails) / 1_000
    assert count_beyond_gap(np.zeros(100), 5) == 0


@given(
    seed=SEEDS,
    count=st.integers(400, 1_500),
    # In two dimensions the tail of 400 rows has wide spacings by chance: 2 % hide a row 30 times as far.
    dimension=st.sampled_from([8, 40]),
    numbers=st.tuples(st.integers(0, 2), st.sampled_from([0, 12]), st.integers(0, 5)),
    factor=st.sampled_from([30.0, 1e6, 1e12]),
)
def test_planted_rows_are_found(
    seed: int, count: int, dimension: int, numbers: tuple[int, int, int], factor: float
) -> None:
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(count, dimension)) + 1).astype(np.float32)
    zero, repeated, far = np.split(random.choice(count, sum(numbers), replace=False), np.cumsum(numbers)[:2])
    vectors[zero] = 0
    vectors[repeated] = vectors[repeated[:1]]
    vectors[far] = 1 + factor * random.uniform(1, 2, size=(len(far), dimension))
    planted = {"zero": zero, "repeated": repeated, "far": far}
    found = {why: rows.tolist() for why, rows in find_odd_rows(vectors, count_copies(vectors)).items()}
    assert found == {why: sorted(rows.tolist()) for why, rows in planted.items() if len(rows)}


def topics(*rare: int) -> NDArray[np.float64]:
    """5,000 vectors of length about 1, of twelve topics but for the first, of as many rare topics' rows."""
    random = np.random.default_rng(0)
    topics = random.integers(12, size=5_000)
    topics[: sum(rare)] = 12 + np.repeat(np.arange(len(rare)), rare)
    return (random.normal(size=(12 + len(rare), 64))[topics] + random.normal(size=(5_000, 64)) * 0.3) / 8


@pytest.mark.parametrize(
    "vectors",
    [
        np.repeat(np.random.default_rng(0).normal(size=(300, 4)), 2, axis=0),
        # Popular items by Zipf's law.
        np.random.default_rng(0).normal(size=(400, 4))[
            np.random.default_rng(0).zipf(1.5, size=1_000).clip(0, 399)
        ],
        np.random.default_rng(0).normal(size=(5_000, 4))[np.r_[:5_000, np.repeat(np.arange(10), 20)]],
        np.random.default_rng(0).standard_t(3, size=(5_000, 16)),
        np.eye(3)[np.arange(900) % 3],
        np.full((200, 3), 0.5),
        topics(12),
        topics(30, 20, 10),
    ],
    ids=[
        *("all twice", "popular", "ten popular", "heavy tails", "three vectors", "one vector"),
        *("rare class", "rare classes"),
    ],
)
def test_rows_that_belong_to_stream_are_kept(vectors: NDArray[np.float64]) -> None:
    vectors = vectors.astype(np.float32)
    assert find_odd_rows(vectors, count_copies(vectors)) == {}


@pytest.mark.parametrize("planted", [slice(7, 8), slice(7, 17), slice(40, 85)])
def test_bad_rows_are_found_beside_rare_classes(planted: slice) -> None:
    vectors = topics(20, 20)
    vectors[planted] *= 5
    vectors = vectors.astype(np.float32)
    found = find_odd_rows(vectors, count_copies(vectors))
    assert {why: rows.tolist() for why, rows in found.items()} == {"far": [*range(5_000)[planted]]}


def spoiled(blobs: NDArray[np.float32], zeros: int) -> NDArray[np.float32]:
    """The blobs, of which row 3 is far and zeros follow row 99."""
    vectors = blobs.copy()
    vectors[3] *= 1e6
    vectors[100 : 100 + zeros] = 0
    return vectors


def test_fit_names_and_records_rows_that_it_leaves_out(blobs: NDArray[np.float32]) -> None:
    lines: list[str] = []
    ids = ["a", None, None, "bad-1", *[None] * 1_196]
    baseline = fit(spoiled(blobs, 9), progress=lines.append, provenance=Provenance(event_ids=ids))
    first, second = (line for line in lines if "left out" in line)
    assert "left out 9 of 1,200 vectors" in first
    assert "zero in float32 (rows 100, 101, 102, 103, 104 and 4 more)" in first
    assert "left out 1 of 1,200 vectors, which lie far from all others and are not ten or more" in second
    assert "(rows 3 (bad-1))" in second
    metadata = baseline.metadata
    assert metadata.left_out == {"zero": 9, "far": 1}
    assert metadata.mean_count == 1_190
    kept = np.delete(blobs, [3, *range(100, 109)], axis=0)
    np.testing.assert_allclose(baseline.mean, kept.mean(axis=0, dtype=float), rtol=1e-6)


def test_too_many_odd_rows_are_refused_with_names_and_remedies(blobs: NDArray[np.float32]) -> None:
    vectors = spoiled(blobs, 12)
    expected = (
        r"1.1% of the vectors.*12 of .* zero in float32 \(rows 100, .*1 of .* far .*\(rows 3\).*--keep-all"
    )
    with pytest.raises(BaselineError, match=expected):
        fit(vectors)
    baseline = fit(vectors, keep_all=True)
    assert baseline.metadata.left_out == {}
    assert baseline.metadata.mean_count == 1_200


@pytest.mark.parametrize("by", ["windows", "groups"])
def test_rows_are_left_out_of_windows_and_groups(blobs: NDArray[np.float32], by: str) -> None:
    parts = np.arange(1_200) // 20
    # All of the first part.
    vectors = blobs.copy()
    vectors[:10] = 0
    vectors, parts = np.concatenate([vectors[:10], vectors[20:]]), np.concatenate([parts[:10], parts[20:]])
    provenance = (
        Provenance(traffic=Traffic.of(parts * HOUR_MS, HOUR_MS))
        if by == "windows"
        else Provenance(groups=parts)
    )
    baseline = fit(vectors, clusters=2, provenance=provenance, keep_all=False)
    assert baseline.metadata.left_out == {"zero": 10}
    assert baseline.overdispersion is not None


@pytest.mark.parametrize("dimension", [4, 40])
def test_heavy_tails_are_fitted_and_clipped_as_events_are(dimension: int) -> None:
    random = np.random.default_rng(dimension)
    scales = np.sqrt(3 / random.chisquare(3, size=(4_000, 1)))
    vectors = (random.normal(size=(4_000, dimension)) * scales).astype(np.float32)
    baseline = fit(vectors, clusters=20)
    assert baseline.metadata.left_out == {}
    assert baseline.counts.min() > 0
    projection = to_reference(baseline).projection
    coordinates, *_ = projection.measure(vectors[split_indices(4_000, baseline.metadata.seed)[0]])
    variances = (coordinates * projection.step).var(axis=0, ddof=1)
    np.testing.assert_allclose(variances, baseline.variances, rtol=0.01)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (np.ones(1_200, int), None),
        (
            np.full(600, 2),
            "warning: 600 of 1,200 vectors repeat another one; 600 are distinct, and most occur 2 t",
        ),
        (
            np.full(400, 3),
            "warning: 800 of 1,200 vectors repeat another one; 400 are distinct, and most occur 3 t",
        ),
        # Some of a topic's records came twice, and items of a catalogue.
        (np.repeat([2, 1], [300, 600]), "300 of 1,200 vectors repeat another one; 900 are distinct"),
        (np.arange(1, 49), "1,128 of 1,176 vectors repeat another one; 48 are distinct"),
        (np.repeat([2, 1], [5, 1_190]), None),
    ],
)
def test_copies_are_said(times: NDArray[np.int_], said: str | None) -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(len(times), 8)), times, axis=0)
    lines: list[str] = []
    fit(vectors, clusters=4, progress=lines.append)
    found = [line for line in lines if "repeat another" in line]
    assert len(found) == (said is not None)
    assert all(line.startswith(said or "") for line in found)


CLUSTERS, AN_HOUR = 10, 100


def warnings(shares: NDArray[np.float64]) -> list[str]:
    """Return the warning of hours of events.

    The clusters' upper half has the share that is given for each hour, and the mean moves with that.
    """
    random = np.random.default_rng(len(shares))
    hours = np.repeat(np.arange(len(shares)), AN_HOUR)
    is_upper = random.random(len(hours)) < shares[hours]
    ids = random.integers(CLUSTERS // 2, size=len(hours)) + np.where(is_upper, CLUSTERS // 2, 0)
    traffic = Traffic.of(MONDAY_MS + hours * HOUR_MS, HOUR_MS)
    # As where half of the windows are held out.
    rows = np.flatnonzero(np.isin(hours, random.permutation(len(shares))[::2]))
    lines: list[str] = []
    mean = random.normal(size=(len(rows), 4)) + shares[hours[rows], None]
    report_change(traffic, rows, {"clusters": np.eye(CLUSTERS)[:, ids[rows]], "mean": mean.T}, lines.append)
    return lines


@pytest.mark.parametrize(("days", "day"), [(7, 4), (7, 3), (7, 6)])
def test_step_is_reported_with_its_time(days: int, day: int) -> None:
    (line,) = warnings(np.where(np.arange(24 * days) < 24 * day, 0.4, 0.7))
    part = r"their {} near (\S+) by 0\.[5-7]\d standard deviations"
    changes = f"{part.format('clusters')}, {part.format('mean')}"
    found = re.match(f"warning: the vectors change, {changes}: this is more than bursts or cycles", line)
    assert found is not None
    for start in found.groups():
        assert parse_timestamp(start) == pytest.approx(MONDAY_MS + day * DAY_MS, abs=6 * HOUR_MS)


def test_trend_is_reported() -> None:
    (line,) = warnings(np.linspace(0.3, 0.7, 7 * 24))
    assert line.startswith("warning: the vectors change, their clusters near 2025-11-0")


def cycle(period_h: int, phase: float) -> NDArray[np.float64]:
    return 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(3 * period_h) / period_h + phase)


HOURS = np.arange(14 * 24)
BURSTS = [np.random.default_rng(length).beta(4, 4, size=length) for length in range(100, 160, 8)]


@pytest.mark.parametrize(
    "shares",
    [
        *(cycle(period_h, phase) for period_h in (24, 24 * 7) for phase in np.linspace(0, 2 * np.pi, 4)),
        # Weekends.
        *(np.where((HOURS // 24 + first) % 7 < 5, 0.45, 0.75) for first in (0, 2, 5)),
        *BURSTS,
        # Chance alone.
        *(np.full(length, 0.5) for length in range(40, 80, 8)),
        # A small change.
        np.where(HOURS < 7 * 24, 0.5, 0.56),
        # Few windows.
        *(np.linspace(0.1, 0.9, windows) for windows in (1, 2, 7)),
    ],
)
def test_cycles_bursts_and_what_chance_may_make_are_not_reported(shares: NDArray[np.float64]) -> None:
    assert warnings(shares) == []
