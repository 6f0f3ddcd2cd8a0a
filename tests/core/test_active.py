"""One stream against one baseline: its events' panes, those of each segment, and examples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.active import Active
from driftgauge.core.reference import OTHER, SegmentReference
from driftgauge.core.state import ExamplesKey, PaneKey
from driftgauge.core.counting.tally import Tally
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    HOUR_MS,
    build_batch,
    build_reference,
    build_spec,
    build_tally,
)

FIRST_HOUR, SECOND_HOUR = Window(HOUR_MS, 0), Window(HOUR_MS, HOUR_MS)


def segment(key, value):
    return SegmentReference(key, value, np.array([4, 3, 2, 1]), np.zeros(2), np.eye(2))


SEGMENTS = [("country", "de"), ("country", "fr"), ("country", OTHER), ("device", "phone"), ("device", OTHER)]
REFERENCE = build_reference(segments=tuple(segment(*names) for names in SEGMENTS))


def build_active(*keys, reference=REFERENCE):
    """What counts by these segment keys."""
    return Active(build_spec(reference=reference, alarm=replace(ALARM, segment_keys=keys)), reference)


def count(active, *events, segments=(), event_ids=()):
    """Count (partition, time_ms, cluster) events."""
    rows = [(partition, 0, time_ms, cluster) for partition, time_ms, cluster in events]
    batch = build_batch(rows, segments=segments, event_ids=event_ids)
    active.add(batch, np.array([cluster for _, _, cluster in events]))


def counts(active):
    """(partition, pane, segment) -> counts, of the panes that changed since last asked."""
    return {
        (partition, key.pane, key.segment): Tally(value, CLUSTERS).counts.tolist()
        for partition, (key, value) in active.take_changed()
        if isinstance(key, PaneKey)
    }


def by_segment(*keys, segments, reference=REFERENCE):
    """Segment -> counts, of events of cluster 0, 1 and so on."""
    active = build_active(*keys, reference=reference)
    count(active, *[(0, 0, cluster) for cluster in range(max(len(segments), 1))], segments=segments)
    return {name: its for (_, _, name), its in counts(active).items()}


def test_without_segment_keys_all_events_are_counted_together():
    assert by_segment(segments=[{"country": "de"}, None]) == {None: [1, 1, 0, 0]}


def test_each_event_is_counted_with_all_and_with_its_segment():
    assert by_segment("country", segments=[{"country": "de"}, {"country": "fr"}, {"country": "de"}]) == {
        None: [1, 1, 1, 0],
        ("country", "de"): [1, 0, 1, 0],
        ("country", "fr"): [0, 1, 0, 0],
    }


@pytest.mark.parametrize("names", [None, {}, {"device": "phone"}, {"country": "es"}, {"country": OTHER}])
def test_what_no_segment_holds_is_other(names):
    assert by_segment("country", segments=[{"country": "de"}, names]) == {
        None: [1, 1, 0, 0],
        ("country", "de"): [1, 0, 0, 0],
        ("country", OTHER): [0, 1, 0, 0],
    }


def test_where_no_event_of_a_batch_has_segments_all_are_other():
    assert by_segment("country", segments=()) == {None: [1, 0, 0, 0], ("country", OTHER): [1, 0, 0, 0]}


def test_an_event_is_in_a_segment_of_each_key():
    assert by_segment("country", "device", segments=[{"country": "de", "device": "phone"}, {}]) == {
        None: [1, 1, 0, 0],
        ("country", "de"): [1, 0, 0, 0],
        ("country", OTHER): [0, 1, 0, 0],
        ("device", "phone"): [1, 0, 0, 0],
        ("device", OTHER): [0, 1, 0, 0],
    }


@pytest.mark.parametrize("segments", [(), [None, {"country": "es"}], [{"country": "de"}, {}]])
def test_a_baseline_without_a_segment_for_the_others_counts_those_in_the_whole_alone(segments):
    reference = build_reference(segments=(segment("country", "de"),))
    counted = by_segment("country", segments=segments, reference=reference)
    assert counted.pop(None)[0] == 1
    assert counted == ({("country", "de"): [1, 0, 0, 0]} if {"country": "de"} in segments else {})


@settings(max_examples=50)
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
def test_the_segments_of_a_key_add_up_to_all_events(events):
    active = build_active("country")
    count(active, *[event[:3] for event in events], segments=[event[3] for event in events])
    panes = {(partition, key.pane, key.segment): value for partition, (key, value) in active.take_changed()}
    for (partition, pane, name), value in panes.items():
        if name is None:
            parts = [panes.get((partition, pane, other)) for other in SEGMENTS[:3]]
            np.testing.assert_array_equal(sum(part for part in parts if part is not None), value)


def test_a_tally_holds_counts_events_beyond_the_radius_and_sums_of_places():
    active = build_active()
    count(active, (0, 0, 1), (0, 5, 1), (0, 9, 3))
    ((partition, (key, value)),) = active.take_changed()
    assert (partition, key) == (0, PaneKey("images", REFERENCE.key, FIRST_HOUR))
    assert value.tolist() == build_tally(0, 2, 0, 1, reference=REFERENCE).tolist()


@pytest.mark.parametrize(("distance", "beyond"), [(0.49, 0), (0.51, 1)])
def test_an_event_beyond_the_radius_of_its_own_cluster_is_new(distance, beyond):
    radii = np.array([0.1, 0.5, 0.1, 0.1], dtype=np.float32)
    active = build_active(reference=replace(REFERENCE, radii=radii))
    batch = build_batch([(0, 0, 0, 1), (0, 0, 0, 1)])
    batch.vectors[0, 1] += distance
    active.add(batch, np.array([1, 1]))
    ((_, (_, value)),) = active.take_changed()
    assert Tally(value, CLUSTERS).beyond == beyond


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 100), max_size=4).map(sorted), st.booleans())
def test_any_split_and_order_of_the_events_is_the_same_to_the_bit(seed, cuts, backwards):
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
    told = []
    for parts in ([np.arange(100)], np.split(order, cuts)):
        active = build_active("country")
        for part in parts:
            if len(part):
                its = take(batch, part)
                active.add(its, REFERENCE.centroids.assign(its.vectors))
        told.append(
            {
                (partition, key): value if isinstance(value, tuple) else value.tolist()
                for partition, (key, value) in active.take_changed()
            }
        )
    assert told[0] == told[1]
    assert len(told[0]) > 10


def take(batch, rows):
    """The events in these rows of a batch, in this order."""
    return replace(
        batch,
        **{name: getattr(batch, name)[rows] for name in ("row", "partition", "offset", "time_ms", "vectors")},
        event_ids=[batch.event_ids[row] for row in rows],
        segments=[batch.segments[row] for row in rows],
    )


def test_examples_are_kept_of_the_whole_where_events_have_names():
    active = build_active("country")
    count(active, (0, 0, 1), (1, 0, 2), event_ids=["a", None], segments=[{"country": "de"}, None])
    examples = {
        (partition, key): [example.event_id for example in value]
        for partition, (key, value) in active.take_changed()
        if isinstance(key, ExamplesKey)
    }
    assert examples == {(0, ExamplesKey("images", REFERENCE.key, FIRST_HOUR)): ["a"]}


def state_of(active):
    """(partition, key) -> value, of all that is held."""
    active.touch()
    return {
        (partition, key): value if isinstance(value, tuple) else value.tolist()
        for partition, (key, value) in active.take_changed()
    }


def filled():
    active = build_active("country")
    segments = [{"country": "de"}, {"country": "fr"}, None]
    count(active, (0, 0, 1), (1, 0, 2), (0, HOUR_MS, 3), event_ids=["a", "b", "c"], segments=segments)
    return active


def test_what_is_held_is_told_with_its_partition_and_key():
    active = filled()
    assert sorted(map(str, active.held())) == sorted(map(str, state_of(active)))
    assert len(state_of(active)) == 9


def test_the_tallies_of_all_events_are_told_after_what_belongs_to_them():
    keys = [key for _, (key, _) in filled().take_changed()]
    is_whole = [isinstance(key, PaneKey) and key.segment is None for key in keys]
    assert sorted(is_whole) == is_whole
    assert sum(is_whole) == 3


def test_what_was_kept_is_restored_without_being_a_change():
    active = filled()
    kept = {(partition, key): value for partition, (key, value) in active.take_changed()}
    restored = build_active("country")
    for (partition, key), value in kept.items():
        assert restored.restore(partition, key, value)
    assert list(restored.take_changed()) == []
    for its in (active, restored):
        count(its, (0, 7, 0), event_ids=["d"], segments=[{"country": "fr"}])
    assert state_of(restored) == state_of(active)


@pytest.mark.parametrize("name", [("country", "es"), ("device", "phone"), ("colour", "red")])
def test_a_pane_of_a_segment_that_is_not_counted_any_more_is_refused(name):
    active = build_active("country")
    key = PaneKey("images", REFERENCE.key, FIRST_HOUR, name)
    assert active.restore(0, key, build_tally(1, 0, 0, 0)) is False
    assert list(active.held()) == []


def test_panes_that_start_before_a_time_are_dropped_with_their_segments_and_examples():
    active = filled()
    before = state_of(active)
    dropped = set(active.drop_before(HOUR_MS))
    assert dropped == {at for at in before if at[1].pane == FIRST_HOUR}
    assert {key for _, key in dropped if isinstance(key, ExamplesKey)} != set()
    assert state_of(active) == {at: value for at, value in before.items() if at[1].pane == SECOND_HOUR}
    assert list(active.drop_before(HOUR_MS)) == []
