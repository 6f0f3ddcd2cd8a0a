"""Windows and groups of related vectors: how they are split, their overdispersion, and a fit with them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.baseline.fit_report import describe, report_baseline
from driftgauge.baseline.fitting import Provenance
from driftgauge.baseline.groups import groups_of_ids, measure_groups, number_groups, pool
from driftgauge.baseline.windows import LEAST_WINDOWS, Traffic, observe, report_ratio, split_whole
from driftgauge.cli.printing import render
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.errors import InputError
from driftgauge.streams import to_reference
from tests.builders.baselines import by_columns, draw_bursts, fit
from tests.builders.clocks import HOUR_MS


def test_traffic_aligns_windows_to_epoch() -> None:
    times_ms = np.array([5 * HOUR_MS, 2 * HOUR_MS - 1, 2 * HOUR_MS, 3 * HOUR_MS - 1, HOUR_MS], dtype=np.int64)
    traffic = Traffic.of(times_ms, HOUR_MS)
    assert traffic.numbers.tolist() == [2, 0, 1, 1, 0]
    assert traffic.sizes.tolist() == [2, 2, 1]
    assert traffic.name == "windows of 1h"


@given(
    sizes=st.lists(st.integers(1, 40), min_size=LEAST_WINDOWS, max_size=3 * LEAST_WINDOWS),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**40),
)
def test_split_whole_keeps_windows_whole_and_meets_target(sizes: list[int], share: float, seed: int) -> None:
    # In an order that has nothing to do with the windows.
    numbers = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    target = int(share * len(numbers))
    split = split_whole(numbers, target, seed)
    if max(sizes) > len(numbers) / 4:
        assert split is None
        return
    assert split is not None
    fitted, held_out = split
    assert not set(numbers[fitted]) & set(numbers[held_out])
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(len(numbers)))
    assert (np.diff(fitted) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert len(np.unique(numbers[held_out])) >= 2
    first_alone = len(np.unique(numbers[fitted])) == 1
    assert first_alone or abs(len(fitted) - target) <= max(sizes) / 2


def test_observe_leaves_out_small_windows() -> None:
    sizes = [29, 30, 1, 400, 7]
    numbers = np.repeat(np.arange(5), sizes)
    ids = np.arange(len(numbers)) % 6
    standardized = np.random.default_rng(0).normal(size=(len(numbers), 4))
    assert observe(numbers, ids, standardized, 6, by_columns(np.zeros((len(numbers), 3)))) == (2, None)


def test_report_ratio_warns_below_twenty_times_median_window() -> None:
    traffic = Traffic.of(np.repeat(np.arange(3), [10, 100, 5_000]) * HOUR_MS, HOUR_MS)
    lines: list[str] = []
    report_ratio(traffic, 2_000, lines.append)
    report_ratio(traffic, 1_999, lines.append)
    assert lines[0] == (
        "windows of 1h hold 100 events (the median), and the reference counts 20.0 times as many"
    )
    assert lines[1].startswith("warning: windows of 1h hold 100 events")
    assert "below 20 times" in lines[1]
    assert "give more events, or use shorter windows" in lines[1]


def test_groups_are_numbered_by_value_of_key() -> None:
    lines: list[str] = []
    labels = [{"doc": "a"}, {"doc": "b", "x": "1"}, {}, {"doc": "a"}, {"x": "1"}]
    assert number_groups(labels, "doc", lines.append).tolist() == [0, 1, 2, 0, 3]
    assert lines == ["warning: 40.0% of the vectors have no doc; each is a group of its own"]


@pytest.mark.parametrize("labels", [None, [{}, {"other": "1"}]])
def test_missing_key_is_reported_with_remedy(labels: list[dict[str, str]] | None) -> None:
    with pytest.raises(InputError, match="no vector has a group 'doc'; name a segment key"):
        number_groups(labels, "doc", lambda _: None)


@pytest.mark.parametrize(
    ("event_ids", "groups"),
    [
        ([f"paper-{row // 3}#{row % 3}" for row in range(120)], 40),
        # A vector without an id, or with an id of one part, is alone.
        ([*(f"user.{row // 4}.{row}" for row in range(160)), "x", None], 42),
        ([f"image-{row}" for row in range(120)], None),
        ([f"{row}-a" for row in range(120)], None),
        ([f"doc{row // 100}/{row}" for row in range(400)], None),
        (None, None),
    ],
)
def test_groups_are_found_by_ids_that_share_all_but_their_last_part(
    event_ids: list[str | None] | None, groups: int | None
) -> None:
    found = groups_of_ids(event_ids)
    assert (None if found is None else len(np.unique(found))) == groups


@pytest.mark.parametrize("size", [1, 4])
def test_overdispersion_of_equal_vectors_is_their_number(size: int) -> None:
    # Groups of equal vectors: a mean varies as that of one vector a group.
    random = np.random.default_rng(size)
    ids = np.repeat(random.integers(5, size=2_000), size)
    columns = np.repeat(random.normal(size=(2_000, 9)), size, axis=0)
    coordinates, lengths = columns[:, :6], by_columns(columns[:, 6:])
    hashes = np.repeat(random.integers(HASH_BINS, size=2_000), size)
    found = measure_groups(
        np.repeat(np.arange(2_000), size), ids, coordinates, lengths, {"hash_counts": hashes}
    )
    assert found.windows == 2_000
    assert found.counts == pytest.approx(size, rel=0.1)
    assert np.diag(found.means) == pytest.approx(np.full(6, size), rel=0.2)
    assert np.hstack(list(found.others.values())) == pytest.approx(np.full(4, size), rel=0.2)


@pytest.mark.parametrize(
    ("sizes", "windows"), [([300] * 30 + [1] * 1_000, 30), ([1_200] * 4 + [32] * 37, 20)]
)
def test_large_groups_count_as_fewer(sizes: list[int], windows: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    columns = np.random.default_rng(2).normal(size=(len(groups), 9))
    numbers = np.arange(len(groups))
    found = measure_groups(
        groups, numbers % 5, columns[:, :6], by_columns(columns[:, 6:]), {"hash_counts": numbers % HASH_BINS}
    )
    assert found.windows == windows
    # Independent vectors in groups of any size.
    assert np.diag(found.means).mean() == pytest.approx(1, rel=0.8)


def test_fit_with_groups_keeps_them_whole_and_states_their_number(tmp_path: Path) -> None:
    vectors = draw_bursts(6_000, 5)
    baseline = fit(vectors, provenance=Provenance(groups=np.arange(6_000) // 5))
    assert baseline.overdispersion is not None
    assert baseline.overdispersion.counts == pytest.approx(5, rel=0.4)
    assert baseline.metadata.groups == baseline.overdispersion.windows
    assert baseline.metadata.groups == 1_200, "of all vectors"
    assert baseline.metadata.reference_count % 5 == 0, "whole groups are held out"
    assert baseline.metadata.window_ms is None
    assert f"groups worth {baseline.metadata.groups} of one size" in " ".join(
        render(describe(report_baseline(baseline, tmp_path / "x"))).split()
    )
    mixed = fit(vectors, provenance=Provenance(groups=np.arange(6_000) // 5, mixed_windows=True))
    assert mixed.identity != baseline.identity
    reference = to_reference(mixed)
    assert reference.overdispersion is not None
    assert reference.overdispersion.counts == 1, "a window's events are independent"
    assert reference.groups is not None
    assert reference.groups.counts == baseline.overdispersion.counts


@pytest.mark.parametrize(
    ("an_hour", "clusters", "groups"),
    [
        (100, 6, None),
        # Two windows; and a hundred of which each has fewer than five events a cluster.
        (3_000, 6, 1_200),
        (60, 20, 1_200),
    ],
)
def test_groups_are_used_where_windows_are_not_enough(
    an_hour: int, clusters: int, groups: int | None
) -> None:
    known = Provenance(
        Traffic.of(np.arange(6_000) // an_hour * HOUR_MS, HOUR_MS), groups=np.arange(6_000) // 5
    )
    lines: list[str] = []
    vectors = draw_bursts(6_000, 5)
    about = fit(vectors, clusters=clusters, provenance=known, progress=lines.append).metadata
    assert (about.window_ms, about.groups) == ((HOUR_MS, None) if groups is None else (None, groups))
    reported = [line for line in lines if line.startswith("groups, worth 1200 of one size: counts vary")]
    assert len(reported) == (groups is not None)


def test_too_few_groups_are_reported_and_not_used() -> None:
    lines: list[str] = []
    known = Provenance(groups=np.arange(6_000) // 200)
    baseline = fit(draw_bursts(6_000, 5), provenance=known, progress=lines.append)
    assert baseline.overdispersion is None
    (warning,) = [line for line in lines if "groups are not used" in line]
    assert "there are 30, and the largest holds 3%" in warning


def test_sides_are_pooled_as_new_vectors() -> None:
    # Those that the components were fitted on lie elsewhere, and twice as far apart.
    numbers = np.random.default_rng(4).normal(size=(500, 3))
    fitted, counted = np.split(pool(2 * numbers + 7, numbers), 2)
    assert fitted == pytest.approx(counted)
    assert counted == pytest.approx(numbers - numbers.mean(axis=0))
    assert not pool(np.ones((500, 3)), numbers)[:500].any(), "numbers that do not vary"


def test_group_is_compared_with_the_others_of_its_side() -> None:
    # One group is two fifths of its side, and three standard deviations away from the others.
    numbers = np.arange(1_000)
    columns = np.random.default_rng(0).normal(size=(1_000, 4)) + 3.0 * (numbers[:, None] < 200)
    columns[:500] -= columns[:500].mean(axis=0)
    columns[500:] -= columns[500:].mean(axis=0)
    found = measure_groups(
        np.maximum(numbers - 199, 0),
        numbers % 5,
        columns,
        by_columns(columns[:, :3]),
        {"hash_counts": numbers % HASH_BINS},
        500,
    )
    assert np.diag(found.means).mean() == pytest.approx(3**2 * 200**2 * (1 - 200 / 500) / 1_000, rel=0.05)
