"""Stream specifications and references: panes, baseline schedule, schemes, levels, shards, segments."""

from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import TallyField
from driftgauge.core.reference import SegmentReference
from tests.builders.batches import build_tally
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import (
    CLUSTERS,
    COMPONENTS,
    FIRST,
    OTHER,
    build_reference,
    build_segment_arrays,
)
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
            TallyField("cluster_counts", CLUSTERS),
            TallyField("clipped_coordinate_sums", COMPONENTS),
            TallyField("cluster_outliers", 4),
            TallyField("spread_sums", 3),
            TallyField("hash_counts", 128, in_segments=False),
        ),
    )
    assert np.shape(build_tally(1, 2, 3, 4)) == (scheme.length,)
    assert spec.scheme(FIRST) != scheme


SCHEME = build_spec().scheme(FIRST)


@pytest.mark.parametrize(
    "change",
    [
        {"baseline": "0123456789abcdef"},
        {"pane_ms": MINUTE_MS},
        {"segment_keys": ("country",)},
        {"fields": (*SCHEME.fields, TallyField("norms", 1))},
    ],
)
def test_key_of_scheme_changes_with_every_field(change):
    assert replace(SCHEME, **change).key != SCHEME.key
    assert SCHEME.key.startswith(FIRST.key)


def test_shard_of_stream_is_same_in_every_process():
    assert [shard_of(name, 16) for name in ("images", "texts")] == [10, 15]  # crc32, not Python's own hash


@pytest.mark.parametrize(
    ("segment_keys", "level"), [((), 0.001), (("country",), 0.0005), (("a", "b"), 0.0005)]
)
def test_overall_level_is_half_with_segments(segment_keys, level):
    assert replace(ALARM, segment_keys=segment_keys).overall_level == level


@given(
    st.lists(st.text("ab.-*", min_size=1, max_size=4), unique=True), st.text("ab.-", min_size=1, max_size=4)
)
def test_own_name_comes_first_then_the_first_pattern_that_matches(keys, stream):
    expected = stream if stream in keys else next((key for key in keys if fnmatchcase(stream, key)), None)
    assert ByStream({key: key for key in keys}).get(stream) == expected


def test_segments_by_keeps_order_of_keys():
    names = [("device", "phone"), ("country", "de"), ("device", "other"), ("country", "other")]
    segments = [
        SegmentReference(*name, np.ones(4), np.zeros(2), np.eye(2), build_segment_arrays()) for name in names
    ]
    reference = build_reference(segments=tuple(segments))
    for keys, expected in {
        (): [],
        ("country",): [1, 3],
        ("country", "device"): [1, 3, 0, 2],
        ("colour",): [],
    }.items():
        assert reference.segments_by(keys) == tuple(segments[index] for index in expected)


def test_key_is_start_of_identity():
    reference = replace(FIRST, baseline_id="sha256:0123456789abcdef0123")
    assert reference.key == "0123456789abcdef"
    assert FIRST.key != OTHER.key
