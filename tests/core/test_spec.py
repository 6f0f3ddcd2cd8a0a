"""Stream specifications: panes, baseline schedule, schemes, levels."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.scheme import Scheme
from tests.builders.batches import build_tally
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import CLUSTERS, COMPONENTS, FIRST, OTHER, build_reference
from tests.builders.specs import ALARM, build_schedule, build_spec


@pytest.mark.parametrize(
    ("sizes_ms", "pane_ms"),
    [
        ((HOUR_MS,), HOUR_MS),
        ((HOUR_MS, DAY_MS), HOUR_MS),
        ((90 * MINUTE_MS, 2 * HOUR_MS), 30 * MINUTE_MS),
        ((7 * MINUTE_MS, HOUR_MS), MINUTE_MS),
    ],
)
def test_pane_is_greatest_common_divisor_of_sizes(sizes_ms, pane_ms):
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
def test_baseline_is_in_force_until_start_of_next(time_ms, reference):
    assert SPEC.baseline_at(time_ms) is reference


def test_only_baseline_is_always_in_force():
    assert build_spec().baseline_at(0) is build_spec().baseline_at(2**60) is FIRST


def test_baseline_can_return_into_force():
    spec = build_spec(baselines=build_schedule((MONDAY_MS, OTHER), (MONDAY_MS + DAY_MS, FIRST)))
    assert spec.baseline_at(MONDAY_MS) is OTHER
    assert spec.baseline_at(MONDAY_MS + DAY_MS) is FIRST


def test_find_returns_scheduled_baseline_by_key():
    assert [SPEC.find(reference.key) for reference in (FIRST, OTHER, THIRD)] == [FIRST, OTHER, THIRD]
    assert build_spec().find(OTHER.key) is None


def test_scheme_holds_fields_of_spec_and_baseline():
    spec = replace(
        SPEC, sizes_ms=(HOUR_MS, 90 * MINUTE_MS), alarm=replace(ALARM, segment_keys=("country", "device"))
    )
    scheme = spec.scheme(OTHER)
    assert scheme == Scheme(
        OTHER.key,
        30 * MINUTE_MS,
        ("country", "device"),
        (
            ("cluster_counts", CLUSTERS),
            ("cluster_outliers", 4),
            ("hash_counts", 128),
            ("coordinate_sums", COMPONENTS),
            ("spread_sums", 2),
            ("outlier_spread_sums", 2),
        ),
    )
    assert np.shape(build_tally(1, 2, 3, 4)) == (scheme.length,)
    assert spec.scheme(FIRST) != scheme


@pytest.mark.parametrize(
    ("segment_keys", "level"), [((), 0.001), (("country",), 0.0005), (("a", "b"), 0.0005)]
)
def test_overall_level_is_half_with_segments(segment_keys, level):
    assert replace(ALARM, segment_keys=segment_keys).overall_level == level
