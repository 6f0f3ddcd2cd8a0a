"""One stream on the partitions held: what is counted against which baseline, what is late, what is purged."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.assignment import Centroids, Metric
from driftgauge.core.counter import StreamCounter
from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import OTHER as REST
from driftgauge.core.reference import MissingBaselineError, SegmentReference
from driftgauge.core.state import (
    Change,
    Counting,
    ExamplesKey,
    FinalKey,
    Gap,
    PaneKey,
    Progress,
    ProgressKey,
    StreamProgress,
)
from driftgauge.core.table import Table
from driftgauge.core.counting.tally import Tally
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    DAY_MS,
    FIRST,
    HOUR_MS,
    MINUTE_MS,
    OTHER,
    build_batch,
    build_partitions,
    build_reference,
    build_spec,
    build_tally,
)

PARTITIONS = build_partitions(3)
OLD = (Counting(FIRST.key),)


class Owner:
    """The counter of a stream on some partitions, and the table that its changes go to."""

    def __init__(self, *, held=(0, 1), table=None, established=None, known=(FIRST, OTHER), **spec):
        self.held = [PARTITIONS[index] for index in held]
        if table is None:
            table = Table()
            table.expect(self.held)
        self.table = table
        self.spec = build_spec(**spec)
        self.established = set() if established is None else established
        self.counter = StreamCounter(
            self.spec,
            dict(enumerate(self.held)),
            table,
            {reference.key: reference for reference in known}.get,
            self.established,
            now_ms=0,
        )

    def count(self, *events):
        """Count (partition, time_ms, cluster) events."""
        return self.counter.count(
            build_batch([(at, 0, time_ms, cluster) for at, time_ms, cluster in events]), 0
        )

    def commit(self):
        """Do a round and make it stand; return (partition, baseline, pane's start) -> its new counts."""
        self.counter.advance(0, {}, {})
        changes = list(self.counter.changes())
        for change in changes:
            self.table.apply(change)
        for code, partition in enumerate(self.held):
            progress = Progress(0, {self.spec.name: self.counter.progress(code)})
            self.table.apply(Change(partition, ProgressKey(), progress))
        return {
            (change.partition[1], change.key.baseline, change.key.pane.start_ms): (
                None if change.value is None else tuple(Tally(change.value, CLUSTERS).counts.tolist())
            )
            for change in changes
        }

    def counting(self, code=0):
        return self.counter.progress(code).counting


def table_of(*lanes, final_ms=None, expected=None):
    """A table with the stream's progress on each partition, None where it is not known."""
    table = Table()
    table.expect(PARTITIONS[: expected or len(lanes)])
    for partition, lane in zip(PARTITIONS, lanes, strict=False):
        if lane is not None:
            table.apply(Change(partition, ProgressKey(), Progress(0, {"images": lane})))
    if final_ms is not None:
        table.apply(Change(PARTITIONS[0], FinalKey("images"), final_ms))
    return table


def keep_pane(table, partition, start_ms, counts, *, baseline=FIRST, size_ms=HOUR_MS):
    key = PaneKey("images", baseline.key, Window(size_ms, start_ms))
    table.apply(Change(PARTITIONS[partition], key, build_tally(*counts, reference=baseline)))


def test_each_partition_has_its_own_panes_and_only_changed_ones_are_told():
    owner = Owner()
    owner.count((0, 0, 1), (1, 5, 2), (0, HOUR_MS, 3), (0, 7, 1))
    assert owner.commit() == {
        (0, FIRST.key, 0): (0, 2, 0, 0),
        (1, FIRST.key, 0): (0, 0, 1, 0),
        (0, FIRST.key, HOUR_MS): (0, 0, 0, 1),
    }
    assert owner.commit() == {}
    owner.count((1, 6, 2))
    assert owner.commit() == {(1, FIRST.key, 0): (0, 0, 2, 0)}


def test_panes_are_counted_on_from_what_the_table_holds():
    table = table_of(StreamProgress(5, counting=OLD))
    keep_pane(table, 0, 0, [7, 0, 0, 0])
    owner = Owner(held=(0,), table=table)
    assert owner.commit() == {}
    owner.count((0, 9, 1))
    assert owner.commit() == {(0, FIRST.key, 0): (7, 1, 0, 0)}


def test_touched_everything_is_told_again():
    owner = Owner()
    owner.count((0, 0, 1), (1, 5, 2))
    told = owner.commit()
    owner.counter.touch()
    assert owner.commit() == told


def test_an_event_is_late_once_the_horizon_of_its_own_partition_reaches_its_windows_end():
    owner = Owner(
        table=table_of(StreamProgress(horizon_ms=HOUR_MS, counting=OLD), StreamProgress(counting=OLD))
    )
    counted = owner.count((0, 0, 0), (0, HOUR_MS - 1, 0), (0, HOUR_MS, 0), (1, 0, 0))
    assert counted.late.tolist() == [True, True, False, False]
    assert set(owner.commit()) == {(0, FIRST.key, HOUR_MS), (1, FIRST.key, 0)}


def test_what_is_final_is_late_though_the_horizon_was_not_applied_here():
    owner = Owner(held=(0,), table=table_of(StreamProgress(counting=OLD), final_ms=HOUR_MS))
    assert owner.count((0, HOUR_MS - 1, 0), (0, HOUR_MS, 0)).late.tolist() == [True, False]


def test_an_event_that_is_late_for_its_hour_is_counted_for_its_day():
    table = table_of(StreamProgress(horizon_ms=2 * HOUR_MS, counting=OLD))
    owner = Owner(held=(0,), table=table, sizes_ms=(HOUR_MS, DAY_MS))
    counted = owner.count((0, HOUR_MS, 0), (0, 2 * HOUR_MS, 0))
    assert {size: late.tolist() for size, late in counted.late_by_size.items()} == {
        HOUR_MS: [True, False],
        DAY_MS: [False, False],
    }
    assert counted.late.tolist() == [False, False]
    assert set(owner.commit()) == {(0, FIRST.key, HOUR_MS), (0, FIRST.key, 2 * HOUR_MS)}


def test_an_overflown_event_is_counted_nowhere_and_moves_nothing():
    centroids = Centroids(np.array([[0, 0, 0, 0], [3, 3, 3, 3]], dtype=np.float32), Metric.EUCLIDEAN)
    narrow = replace(
        FIRST,
        baseline_id="sha256:" + "a" * 64,
        centroids=centroids,
        counts=np.array([5, 5]),
        radii=np.ones(2, dtype=np.float32),
    )
    owner = Owner(held=(0,), known=(narrow,), reference=narrow)
    batch = build_batch([(0, 0, HOUR_MS, 0), (0, 1, 5, 1)])
    batch.vectors[0] = 3e38
    counted = owner.counter.count(batch, 0)
    assert (counted.overflown.tolist(), counted.late.tolist()) == ([True, False], [False, False])
    assert set(owner.commit()) == {(0, narrow.key, 0)}
    assert owner.counter.progress(0).newest_ms == 5


def test_the_horizon_is_the_streams_watermark_less_the_lateness_in_whole_panes_on_every_partition():
    owner = Owner(disorder_ms=MINUTE_MS, lateness_ms=10 * MINUTE_MS)
    owner.count((0, 3 * HOUR_MS, 0), (1, 2 * HOUR_MS + 11 * MINUTE_MS - 1, 0))
    owner.commit()
    owner.commit()
    assert [owner.counter.progress(code).horizon_ms for code in (0, 1)] == [HOUR_MS, HOUR_MS]
    owner.count((1, 2 * HOUR_MS + 11 * MINUTE_MS, 0))
    owner.commit()
    assert owner.counter.progress(0).horizon_ms == HOUR_MS  # only what is committed counts
    owner.commit()
    assert [owner.counter.progress(code).horizon_ms for code in (0, 1)] == [2 * HOUR_MS, 2 * HOUR_MS]


def test_nothing_is_purged_while_a_partition_of_another_owner_is_behind():
    table = table_of(StreamProgress(counting=OLD), StreamProgress(30 * MINUTE_MS, counting=OLD))
    owner = Owner(held=(0,), table=table)
    owner.count((0, 9 * HOUR_MS, 0))
    owner.commit()
    owner.commit()
    assert owner.counter.progress(0).horizon_ms == 0


def test_panes_go_when_the_windows_of_every_size_are_final():
    owner = Owner(held=(0,), sizes_ms=(HOUR_MS, 2 * HOUR_MS))
    owner.count((0, 0, 0), (0, HOUR_MS, 0), (0, 2 * HOUR_MS, 0))
    owner.commit()
    for final_ms, gone in ((HOUR_MS, []), (2 * HOUR_MS, [0, HOUR_MS]), (3 * HOUR_MS, [])):
        owner.table.apply(Change(PARTITIONS[0], FinalKey("images"), final_ms))
        assert owner.commit() == {(0, FIRST.key, start_ms): None for start_ms in gone}


def test_very_many_panes_are_forgotten_by_and_by_and_counting_goes_on():
    owner = Owner(held=(0,), sizes_ms=(MINUTE_MS,))
    owner.count(*[(0, minute * MINUTE_MS, 0) for minute in range(500)])
    assert len(owner.commit()) == 500
    owner.table.apply(Change(PARTITIONS[0], FinalKey("images"), 500 * MINUTE_MS))
    forgotten = []
    for minute in range(500, 506):
        owner.count((0, minute * MINUTE_MS, 0))
        changes = owner.commit()
        assert changes.pop((0, FIRST.key, minute * MINUTE_MS)) == (1, 0, 0, 0)
        assert set(changes.values()) <= {None}
        forgotten.append(len(changes))
    assert sum(forgotten) == 500
    assert max(forgotten) < 500
    assert forgotten[-1] == 0
    assert {pane.start_ms // MINUTE_MS for pane in owner.table.all_panes("images")} == set(range(500, 506))


def test_a_loss_is_kept_as_long_as_a_window_that_it_touches_is_open():
    table = table_of(StreamProgress(5, counting=OLD, gap=Gap(0, HOUR_MS + 5)))
    owner = Owner(held=(0,), table=table)
    for final_ms, gap in ((HOUR_MS, Gap(0, HOUR_MS + 5)), (2 * HOUR_MS, None)):
        table.apply(Change(PARTITIONS[0], FinalKey("images"), final_ms))
        owner.commit()
        assert owner.counter.progress(0).gap == gap


def test_losses_are_noted_on_their_partition_alone():
    owner = Owner(disorder_ms=7)
    owner.count((0, 100, 0), (1, 100, 0))
    owner.counter.lose(1)
    assert owner.counter.progress(0).gap is None
    assert owner.counter.progress(1).gap == Gap(93)


def test_the_first_baseline_is_counted_from_the_first_event_on():
    owner = Owner()
    assert [owner.counting(code) for code in (0, 1)] == [OLD, OLD]
    assert owner.counter.counted_against() == {FIRST.key}


def test_a_new_baseline_is_counted_beside_the_old_one_from_the_next_pane_on():
    table = table_of(StreamProgress(HOUR_MS + 5, counting=OLD), StreamProgress(5, 2 * HOUR_MS, counting=OLD))
    owner = Owner(table=table, reference=OTHER)
    assert owner.counting(0) == (*OLD, Counting(OTHER.key, 2 * HOUR_MS))
    assert owner.counting(1) == (*OLD, Counting(OTHER.key, 3 * HOUR_MS))
    owner.count((0, 2 * HOUR_MS - 1, 0), (0, 2 * HOUR_MS, 0), (1, 2 * HOUR_MS, 0))
    assert owner.commit() == {
        (0, FIRST.key, HOUR_MS): (1, 0, 0, 0),
        (0, FIRST.key, 2 * HOUR_MS): (1, 0, 0, 0),
        (1, FIRST.key, 2 * HOUR_MS): (1, 0, 0, 0),
        (0, OTHER.key, 2 * HOUR_MS): (0, 1, 0, 0),
    }


def test_an_owner_that_was_given_the_old_baseline_counts_the_new_one_as_well():
    both = (*OLD, Counting(OTHER.key, HOUR_MS))
    owner = Owner(held=(0,), table=table_of(StreamProgress(5, counting=both)))
    assert owner.counting() == both
    owner.count((0, HOUR_MS, 0))
    assert set(owner.commit()) == {(0, FIRST.key, HOUR_MS), (0, OTHER.key, HOUR_MS)}


def test_the_old_baseline_is_counted_until_its_last_window_is_final_and_its_panes_go_with_it():
    both = (*OLD, Counting(OTHER.key, HOUR_MS))
    owner = Owner(
        held=(0,), table=table_of(StreamProgress(5, counting=both)), sizes_ms=(HOUR_MS, 2 * HOUR_MS)
    )
    owner.count((0, 3 * HOUR_MS, 0))
    owner.commit()
    owner.table.apply(Change(PARTITIONS[0], FinalKey("images"), 2 * HOUR_MS - 1))
    assert owner.commit() == {}
    owner.table.apply(Change(PARTITIONS[0], FinalKey("images"), 2 * HOUR_MS))
    assert owner.commit() == {(0, FIRST.key, 3 * HOUR_MS): None}
    assert owner.counting() == (Counting(OTHER.key, HOUR_MS),)


def test_a_baseline_that_was_replaced_is_not_brought_back_by_a_process_that_has_seen_it_in_force():
    table = table_of(StreamProgress(5, counting=(Counting(OTHER.key),)))
    assert Owner(held=(0,), table=table, established={"images"}).counting() == (Counting(OTHER.key),)
    assert Owner(held=(0,), table=table).counting() == (Counting(OTHER.key), Counting(FIRST.key, HOUR_MS))


def test_a_baseline_that_another_process_brings_back_is_taken_up_by_one_that_had_seen_it_replaced():
    table = table_of(
        StreamProgress(5, counting=(Counting(OTHER.key),)),
        StreamProgress(5, counting=(Counting(OTHER.key), Counting(FIRST.key, HOUR_MS))),
    )
    owner = Owner(held=(0,), table=table, established={"images"})
    assert owner.counting() == (Counting(OTHER.key), Counting(FIRST.key, HOUR_MS))


def test_an_owner_remembers_that_its_baseline_was_established():
    owner = Owner(held=(0,))
    owner.commit()
    assert owner.established == set()  # the table has only just heard of it
    owner.commit()
    assert owner.established == {"images"}


def test_a_baseline_that_is_being_left_is_not_brought_back_before_it_is_gone():
    leaving = (*OLD, Counting(OTHER.key, HOUR_MS))
    table = table_of(StreamProgress(5, counting=leaving[1:]), StreamProgress(5, counting=leaving))
    assert Owner(held=(0,), table=table).counting() == leaving[1:]


def test_a_partition_that_was_added_is_counted_against_all_that_is_in_force_and_nothing_final():
    both = (*OLD, Counting(OTHER.key, HOUR_MS))
    lanes = [StreamProgress(5, horizon_ms=2 * HOUR_MS, counting=both)] * 2
    table = table_of(*lanes, final_ms=HOUR_MS, expected=3)
    owner = Owner(held=(2,), table=table, reference=OTHER)
    assert owner.counting() == (Counting(FIRST.key), Counting(OTHER.key))
    assert owner.count((0, HOUR_MS - 1, 0), (0, HOUR_MS, 0)).late.tolist() == [True, False]


def test_while_an_added_partition_is_not_heard_of_the_old_baseline_stays():
    both = (*OLD, Counting(OTHER.key, HOUR_MS))
    table = table_of(StreamProgress(5, counting=both), None, final_ms=9 * HOUR_MS)
    owner = Owner(held=(0,), table=table, reference=OTHER)
    owner.commit()
    assert owner.counting() == both
    table.apply(Change(PARTITIONS[1], ProgressKey(), Progress(0, {"images": StreamProgress(counting=both)})))
    owner.commit()
    assert owner.counting() == both[1:]


def test_where_replicas_began_with_different_baselines_each_takes_up_the_others():
    table = table_of(StreamProgress(5, counting=OLD), StreamProgress(7, counting=(Counting(OTHER.key),)))
    assert Owner(held=(0,), table=table).counting() == (*OLD, Counting(OTHER.key, HOUR_MS))
    assert Owner(held=(1,), table=table, reference=OTHER).counting() == (
        Counting(OTHER.key),
        Counting(FIRST.key, HOUR_MS),
    )


def test_a_baseline_that_is_counted_against_must_be_had():
    table = table_of(StreamProgress(5, counting=(Counting(OTHER.key),)))
    with pytest.raises(MissingBaselineError, match=f"baseline {OTHER.key} of stream images"):
        Owner(held=(0,), table=table, known=(FIRST,))


def test_panes_against_a_baseline_that_is_no_longer_counted_are_given_up():
    table = table_of(StreamProgress(5, counting=OLD))
    keep_pane(table, 0, 0, [1, 0, 0, 0], baseline=OTHER)
    owner = Owner(held=(0,), table=table)
    assert owner.commit() == {(0, OTHER.key, 0): None}
    assert owner.commit() == {}


def test_events_that_do_not_fit_a_baselines_dimension_are_not_counted_against_it():
    flat = Centroids(np.eye(2, dtype=np.float32), Metric.EUCLIDEAN)
    plane = Projection(np.zeros(2), np.eye(2, dtype=np.float32), np.ones(2))
    narrow = replace(OTHER, centroids=flat, counts=np.array([1, 1]), projection=plane)
    table = table_of(StreamProgress(5, counting=(*OLD, Counting(narrow.key, 0))))
    owner = Owner(held=(0,), table=table, known=(FIRST, narrow))
    owner.count((0, 5, 2))
    assert set(owner.commit()) == {(0, FIRST.key, 0)}


def test_panes_of_other_lengths_stay_until_the_windows_now_configured_are_final():
    table = table_of(StreamProgress(5, counting=OLD))
    keep_pane(table, 0, 0, [7, 0, 0, 0], size_ms=2 * HOUR_MS)
    owner = Owner(held=(0,), table=table)
    owner.count((0, 5, 1))
    assert owner.commit() == {(0, FIRST.key, 0): (0, 1, 0, 0)}
    for final_ms, gone in ((HOUR_MS, {Window(HOUR_MS, 0)}), (2 * HOUR_MS, {Window(2 * HOUR_MS, 0)})):
        table.apply(Change(PARTITIONS[0], FinalKey("images"), final_ms))
        owner.counter.advance(0, {}, {})
        assert {(change.key.pane, change.value) for change in owner.counter.changes()} == {
            (pane, None) for pane in gone
        }


SEGMENTED = build_reference(
    segments=tuple(
        SegmentReference("country", value, np.array([4, 3, 2, 1]), np.zeros(2), np.eye(2))
        for value in ("de", REST)
    )
)


def segmented(table, *keys):
    return Owner(
        held=(0,),
        table=table,
        known=(SEGMENTED,),
        reference=SEGMENTED,
        alarm=replace(ALARM, segment_keys=keys),
    )


def take_changes(owner):
    """Do a round; return key -> new value."""
    owner.counter.advance(0, {}, {})
    changes = list(owner.counter.changes())
    for change in changes:
        owner.table.apply(change)
    return {change.key: change.value for change in changes}


def count_named(owner, time_ms, name):
    batch = build_batch([(0, 0, time_ms, 1)], event_ids=[name], segments=[{"country": "de"}])
    owner.counter.count(batch, 0)


def test_segments_and_examples_are_counted_on_from_what_the_table_holds_and_go_with_their_panes():
    table = table_of(StreamProgress(5, counting=OLD))
    count_named(owner := segmented(table, "country"), 0, "a")
    hour = Window(HOUR_MS, 0)
    keys = {
        PaneKey("images", SEGMENTED.key, hour),
        PaneKey("images", SEGMENTED.key, hour, ("country", "de")),
        ExamplesKey("images", SEGMENTED.key, hour),
    }
    assert take_changes(owner).keys() == keys
    count_named(owner := segmented(table, "country"), 5, "b")
    changes = take_changes(owner)
    examples = changes.pop(ExamplesKey("images", SEGMENTED.key, hour))
    assert {example.event_id for example in examples} == {"a", "b"}
    assert {key.segment: Tally(value, CLUSTERS).count for key, value in changes.items()} == {
        None: 2,
        ("country", "de"): 2,
    }
    table.apply(Change(PARTITIONS[0], FinalKey("images"), HOUR_MS))
    assert take_changes(owner) == dict.fromkeys(keys)


def test_segments_that_are_not_configured_any_more_are_given_up_and_their_stream_is_not():
    table = table_of(StreamProgress(5, counting=OLD))
    count_named(owner := segmented(table, "country"), 0, "a")
    take_changes(owner)
    hour = Window(HOUR_MS, 0)
    owner = segmented(table)
    assert take_changes(owner) == {PaneKey("images", SEGMENTED.key, hour, ("country", "de")): None}
    count_named(owner, 5, "a")
    assert take_changes(owner).keys() == {PaneKey("images", SEGMENTED.key, hour)}


def test_examples_against_a_baseline_that_is_no_longer_counted_are_given_up():
    table = table_of(StreamProgress(5, counting=OLD))
    key = ExamplesKey("images", OTHER.key, Window(HOUR_MS, 0))
    table.apply(Change(PARTITIONS[0], key, (Example(0, 7, "a"),)))
    assert take_changes(Owner(held=(0,), table=table)) == {key: None}
