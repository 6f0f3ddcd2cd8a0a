"""The accumulator of one stream and baseline: panes and segments, in any split of the events."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.commit_limit import ENTRY_BYTES, NUMBER_BYTES
from driftgauge.core.counting.accumulator import Accumulator
from driftgauge.core.reference import OTHER, SegmentReference
from tests.builders.batches import (
    AWAY,
    HOME,
    build_batch,
    build_columns,
    of_segment,
    read_tally,
)
from tests.builders.clocks import HOUR_MS
from tests.builders.references import CLUSTERS, build_reference, build_segment_arrays
from tests.builders.specs import ALARM, build_spec
from tests.examples import examples

PARTITIONS = {0: HOME, 1: AWAY}


def segment(key, value):
    return SegmentReference(
        key, value, np.array([4, 3, 2, 1]), np.zeros(2), np.eye(2), build_segment_arrays()
    )


SEGMENTS = [("country", "de"), ("country", "fr"), ("country", OTHER), ("device", "phone"), ("device", OTHER)]
REFERENCE = build_reference(segments=tuple(segment(*names) for names in SEGMENTS))


def build_accumulator(*keys, reference=REFERENCE):
    """An accumulator with these segment keys."""
    spec = build_spec(reference=reference, alarm=replace(ALARM, segment_keys=keys))
    return Accumulator("images", spec, reference)


def add(accumulator, batch):
    accumulator.add(batch, accumulator.assign(batch))


def count(accumulator, *events, segments=(), event_ids=()):
    """Count (partition, time_ms, cluster) events."""
    rows = [(partition, offset, *rest) for offset, (partition, *rest) in enumerate(events)]
    add(accumulator, build_batch(rows, segments=segments, event_ids=event_ids))


def panes(accumulator):
    """(pane start, segment) -> its delta."""
    return {(delta.start_ms, delta.segment): delta for delta in accumulator.panes(PARTITIONS)}


def by_segment(*keys, segments, reference=REFERENCE):
    """Segment -> counts, for events of cluster 0, 1 and so on."""
    accumulator = build_accumulator(*keys, reference=reference)
    count(accumulator, *[(0, 0, cluster) for cluster in range(max(len(segments), 1))], segments=segments)
    return {
        segment: read_tally(delta.values).counts.tolist()
        for (_, segment), delta in panes(accumulator).items()
    }


DE, FR, ES = ({"country": name} for name in ("de", "fr", "es"))
FIRST_IS_GERMAN = {None: [1, 1, 0, 0], ("country", "de"): [1, 0, 0, 0], ("country", OTHER): [0, 1, 0, 0]}


@pytest.mark.parametrize(
    ("keys", "segments", "expected"),
    [
        ((), [DE, None], {None: [1, 1, 0, 0]}),
        (
            ("country",),
            [DE, FR, DE],
            {None: [1, 1, 1, 0], ("country", "de"): [1, 0, 1, 0], ("country", "fr"): [0, 1, 0, 0]},
        ),
        (("country",), (), {None: [1, 0, 0, 0], ("country", OTHER): [1, 0, 0, 0]}),
        *(
            (("country",), [DE, other], FIRST_IS_GERMAN)
            for other in (None, {}, {"device": "phone"}, ES, {"country": OTHER})
        ),
        (
            ("country", "device"),
            [DE | {"device": "phone"}, {}],
            FIRST_IS_GERMAN | {("device", "phone"): [1, 0, 0, 0], ("device", OTHER): [0, 1, 0, 0]},
        ),
    ],
)
def test_event_is_counted_in_whole_and_in_segment_of_each_key(keys, segments, expected):
    assert by_segment(*keys, segments=segments) == expected


@pytest.mark.parametrize("segments", [(), [None, ES], [DE, {}]])
def test_event_without_any_segment_is_in_total_only(segments):
    reference = build_reference(segments=(segment("country", "de"),))
    counted = by_segment("country", segments=segments, reference=reference)
    assert counted.pop(None)[0] == 1
    assert counted == ({("country", "de"): [1, 0, 0, 0]} if DE in segments else {})


@settings(max_examples=examples(50))
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 2 * HOUR_MS),
            st.integers(0, CLUSTERS - 1),
            st.none() | st.fixed_dictionaries({}, optional={"country": st.sampled_from(["de", "fr", "es"])}),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_segments_of_key_sum_to_all_events(events):
    accumulator = build_accumulator("country")
    count(accumulator, *[event[:3] for event in events], segments=[event[3] for event in events])
    counted = panes(accumulator)
    for (start_ms, segment), delta in counted.items():
        if segment is None:
            parts = [counted.get((start_ms, other)) for other in SEGMENTS[:3]]
            whole = of_segment(delta.values)
            np.testing.assert_array_equal(sum(part.values for part in parts if part), whole)
            schemes = {part.scheme for part in parts if part}
            assert schemes == {delta.scheme.of_segments}, "a segment's tally holds no hashes"
            assert delta.scheme.of_segments.length == len(whole)
            assert sum(part.events for part in parts if part) == delta.events


def test_pane_counts_all_partitions_and_names_first_event():
    accumulator = build_accumulator()
    for offset in (7, 8):
        add(accumulator, build_batch([(1, offset, 0, 0), (0, offset, 0, 0), (0, offset, HOUR_MS, 0)]))
    assert {start_ms: (delta.events, delta.first) for (start_ms, _), delta in panes(accumulator).items()} == {
        0: (4, (PARTITIONS[1], 7)),
        HOUR_MS: (2, (PARTITIONS[0], 7)),
    }
    length = build_spec(reference=REFERENCE).scheme(REFERENCE).length
    assert accumulator.bytes == 2 * (ENTRY_BYTES + NUMBER_BYTES * length)


@settings(max_examples=examples(40))
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 100), max_size=4).map(sorted), st.booleans())
def test_tallies_are_same_for_any_split_and_order(seed, cuts, backwards):
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(2, size=100), np.arange(100), random.integers(2 * HOUR_MS, size=100)])
    batch = build_batch(np.concatenate([rows, random.integers(4, size=(1, 100))]).T)
    vectors = batch.vectors + random.normal(0, 0.3, (100, CLUSTERS)).astype(np.float32)
    batch = replace(
        batch,
        vectors=vectors,
        event_ids=[f"event-{number}" for number in range(100)],
        segments=[{"country": name} for name in random.choice(["de", "fr", "es"], 100)],
    )
    order = np.arange(100)[::-1] if backwards else np.arange(100)
    outcomes = []
    for parts in ([np.arange(100)], np.split(order, cuts)):
        accumulator = build_accumulator("country")
        for part in parts:
            if len(part):
                add(accumulator, take(batch, part))
        outcomes.append(
            {key: (delta.values.tolist(), delta.examples) for key, delta in panes(accumulator).items()}
        )
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 8


def take(batch, rows):
    """The events in these rows of a batch, in this order."""
    return replace(
        batch,
        **{
            name: getattr(batch, name)[rows]
            for name in ("row", "partition", "offset", "time_ms", "credible_ms", "vectors")
        },
        event_ids=[batch.event_ids[row] for row in rows],
        segments=[batch.segments[row] for row in rows],
    )


def test_farthest_are_those_beyond_the_radius_by_distance_and_not_of_segments():
    accumulator = build_accumulator("country")
    far = np.array([1, 40, 2.5, 30, 8, 60, 90, 7])
    vectors = np.eye(CLUSTERS)[np.zeros(len(far), int)] * far[:, None]
    whole = np.arange(len(far))
    names = [f"event-{row}" for row in whole]
    for rows in (whole[:3], whole[3:]):
        batch = build_columns(
            "images",
            np.zeros(len(rows), int),
            rows,
            np.zeros(len(rows), int),
            vectors[rows],
            event_ids=[names[row] for row in rows],
            segments=[DE] * len(rows),
        )
        add(accumulator, batch)
    of_all, of_segment = (panes(accumulator)[0, each] for each in (None, ("country", "de")))
    found = [(each.event_id, each.distance) for each in of_all.farthest]
    radius = float(REFERENCE.radii[0])
    assert found == [
        (names[row], int(1_000 * np.float32(far[row] - 1) / radius)) for row in (6, 5, 1, 3, 4, 7)
    ]
    assert of_segment.farthest == ()
