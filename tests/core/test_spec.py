"""How a stream is watched."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.scheme import Scheme
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    COMPONENTS,
    DAY_MS,
    FIRST,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    OTHER,
    build_reference,
    build_schedule,
    build_spec,
    build_tally,
)


@pytest.mark.parametrize(
    ("sizes_ms", "pane_ms"),
    [
        ((HOUR_MS,), HOUR_MS),
        ((HOUR_MS, DAY_MS), HOUR_MS),
        ((90 * MINUTE_MS, 2 * HOUR_MS), 30 * MINUTE_MS),
        ((7 * MINUTE_MS, HOUR_MS), MINUTE_MS),
    ],
)
def test_a_pane_is_the_longest_stretch_that_every_window_is_a_multiple_of(sizes_ms, pane_ms):
    assert build_spec(sizes_ms=sizes_ms).pane_ms == pane_ms


THIRD = build_reference("third")
SPEC = build_spec(baselines=build_schedule((MONDAY_MS, OTHER), (MONDAY_MS + DAY_MS, THIRD)))


@pytest.mark.parametrize(
    ("time_ms", "reference"),
    [
        (0, FIRST),
        (MONDAY_MS - 1, FIRST),
        (MONDAY_MS, OTHER),
        (MONDAY_MS + DAY_MS - 1, OTHER),
        (MONDAY_MS + DAY_MS, THIRD),
        (MONDAY_MS + 1_000 * DAY_MS, THIRD),
    ],
)
def test_a_baseline_is_in_force_from_its_time_until_the_next_one_s(time_ms, reference):
    assert SPEC.in_force(time_ms) is reference


def test_the_only_baseline_is_always_in_force():
    assert build_spec().in_force(0) is build_spec().in_force(2**60) is FIRST


def test_a_baseline_may_come_back_into_force():
    spec = build_spec(baselines=build_schedule((MONDAY_MS, OTHER), (MONDAY_MS + DAY_MS, FIRST)))
    assert spec.in_force(MONDAY_MS) is OTHER
    assert spec.in_force(MONDAY_MS + DAY_MS) is FIRST


def test_a_listed_baseline_is_found_by_its_key():
    assert [SPEC.find(reference.key) for reference in (FIRST, OTHER, THIRD)] == [FIRST, OTHER, THIRD]
    assert build_spec().find(OTHER.key) is None


def test_a_scheme_holds_all_that_tallies_must_have_in_common():
    spec = replace(
        SPEC, sizes_ms=(HOUR_MS, 90 * MINUTE_MS), alarm=replace(ALARM, segment_keys=("country", "device"))
    )
    scheme = spec.scheme(OTHER)
    assert scheme == Scheme(
        OTHER.key,
        30 * MINUTE_MS,
        ("country", "device"),
        (("cluster_counts", CLUSTERS), ("outliers", 1), ("coordinate_sums", COMPONENTS)),
    )
    assert np.shape(build_tally(1, 2, 3, 4)) == (scheme.length,)
    assert spec.scheme(FIRST) != scheme


@pytest.mark.parametrize(
    ("segment_keys", "level"), [((), 0.001), (("country",), 0.0005), (("a", "b"), 0.0005)]
)
def test_the_whole_has_half_of_the_level_beside_segments(segment_keys, level):
    assert replace(ALARM, segment_keys=segment_keys).whole_level == level
