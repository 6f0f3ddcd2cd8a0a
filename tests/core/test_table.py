"""The global table: the last of each key stands, counts are added over the partitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.examples import Example
from driftgauge.core.result import Recall
from driftgauge.core.state import (
    BaselineKey,
    Change,
    Counting,
    ExamplesKey,
    FinalKey,
    HistoryKey,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.table import Table
from driftgauge.core.verdict import History
from driftgauge.core.windows.window import Window
from tests.core.builders import COMPONENTS, build_partitions, build_result

PARTITIONS = build_partitions(3)
HOUR = 100


def table_of(*changes, expected=PARTITIONS):
    table = Table()
    table.expect(expected)
    for change in changes:
        table.apply(change)
    return table


def pane(partition, start_ms, counts, *, stream="images", baseline="abc", size_ms=HOUR, segment=None):
    value = None if counts is None else np.array(counts, dtype=np.int64)
    key = PaneKey(stream, baseline, Window(size_ms, start_ms), segment)
    return Change(PARTITIONS[partition], key, value)


def progress(partition, position=0, **streams):
    return Change(PARTITIONS[partition], ProgressKey(), Progress(position, streams))


def lanes(*images):
    """The stream `images` on each partition: its progress, or None where it is not known."""
    return table_of(*[progress(at, images=lane) for at, lane in enumerate(images) if lane is not None])


def published(partition, window, revision=0, *, stream="images"):
    value = build_result(window, revision, stream=stream)
    return Change(PARTITIONS[partition], PublishedKey(stream, window), value)


def final(partition, final_ms, stream="images"):
    return Change(PARTITIONS[partition], FinalKey(stream), final_ms)


def count(table, window, baseline="abc", stream="images", segment=None):
    counts = table.tally(stream, baseline, window, segment)
    return None if counts is None else counts.tolist()


def test_the_last_progress_of_a_partition_stands():
    table = table_of(progress(0, 5), progress(1, 7), progress(0, 9))
    assert [table.progress(at) for at in PARTITIONS] == [Progress(9), Progress(7), None]


def test_counts_are_added_over_panes_and_partitions_and_the_last_of_a_pane_stands():
    table = table_of(pane(0, 0, [1, 0]), pane(1, 0, [0, 5]), pane(0, 100, [2, 2]), pane(0, 0, [3, 0]))
    assert count(table, Window(HOUR, 0)) == [3, 5]
    assert count(table, Window(2 * HOUR, 0)) == [5, 7]
    assert count(table, Window(HOUR, 200)) is None


def test_counts_of_other_streams_and_baselines_are_not_mixed_in():
    table = table_of(
        pane(0, 0, [1, 0]), pane(0, 0, [0, 7], baseline="def"), pane(0, 0, [9, 9], stream="texts")
    )
    assert count(table, Window(HOUR, 0)) == [1, 0]
    assert count(table, Window(HOUR, 0), "def") == [0, 7]


def test_panes_of_several_lengths_are_added_where_they_lie_within_the_window():
    table = table_of(pane(0, 0, [1, 0]), pane(0, 100, [2, 0], size_ms=10), pane(0, 190, [4, 0], size_ms=10))
    assert count(table, Window(2 * HOUR, 0)) == [7, 0]
    assert count(table, Window(HOUR, 100)) == [6, 0]
    assert count(table, Window(70, 70)) == [2, 0]  # the long pane lies across its beginning


def test_a_pane_that_is_forgotten_leaves_the_others_counts():
    table = table_of(pane(0, 0, [1, 0]), pane(1, 0, [0, 5]), pane(0, 0, None))
    assert count(table, Window(HOUR, 0)) == [0, 5]
    table.apply(pane(1, 0, None))
    assert count(table, Window(HOUR, 0)) is None
    assert table.all_panes("images") == set()


PANES = st.tuples(
    st.integers(0, 2),
    st.sampled_from([0, 100, 200]),
    st.none() | st.lists(st.integers(0, 9), min_size=2, max_size=2),
    st.sampled_from(["abc", "def"]),
)


@given(st.lists(PANES, max_size=40))
def test_counts_are_those_of_the_last_values_whatever_was_written_in_between(written):
    table, last = Table(), {}
    for partition, start_ms, counts, baseline in written:
        table.apply(pane(partition, start_ms, counts, baseline=baseline))
        last[partition, start_ms, baseline] = counts
    for baseline in ("abc", "def"):
        for start_ms in (0, 100, 200):
            standing = [counts for at, counts in last.items() if at[1:] == (start_ms, baseline) and counts]
            expected = np.sum(standing, axis=0).tolist() if standing else [0, 0]
            assert (count(table, Window(HOUR, start_ms), baseline) or [0, 0]) == expected


def test_a_segments_tally_is_apart_from_that_of_all_events():
    segments = ("country", "de"), ("country", "fr"), ("device", "de")
    table = table_of(
        pane(0, 0, [9, 9]),
        *[pane(0, 0, [number, 0], segment=segment) for number, segment in enumerate(segments, 1)],
        pane(1, 0, [0, 5], segment=segments[0]),
        pane(1, 100, [0, 7], segment=segments[0]),
    )
    assert count(table, Window(HOUR, 0)) == [9, 9]
    assert [count(table, Window(HOUR, 0), segment=segment) for segment in segments] == [
        [1, 5],
        [2, 0],
        [3, 0],
    ]
    assert count(table, Window(2 * HOUR, 0), segment=segments[0]) == [1, 12]
    assert count(table, Window(HOUR, 0), segment=("country", "es")) is None


def test_a_segments_pane_is_a_change_but_no_pane_of_its_own():
    table = table_of(pane(0, 0, [1, 0], segment=("country", "de")))
    assert table.take_changed("images") == {Window(HOUR, 0)}
    assert table.all_panes("images") == set()
    assert table.open_windows("images", (HOUR,)) == {HOUR: 0}


def test_a_sum_that_happens_to_be_nothing_hides_no_events():
    table = table_of(pane(0, 0, [1, 0, 0, -7]), pane(1, 0, [1, 0, 0, 7]))
    assert count(table, Window(HOUR, 0)) == [2, 0, 0, 0]


def test_a_partitions_own_panes_are_kept_apart():
    table = table_of(pane(0, 0, [1, 0]), pane(1, 0, [0, 5]))
    assert [counts.tolist() for counts in table.panes(PARTITIONS[1]).values()] == [[0, 5]]
    assert table.panes(PARTITIONS[2]) == {}


def examples(partition, start_ms, *chosen, baseline="abc", size_ms=HOUR):
    key = ExamplesKey("images", baseline, Window(size_ms, start_ms))
    return Change(PARTITIONS[partition], key, tuple(Example(*each) for each in chosen) or None)


def test_a_windows_examples_are_those_of_its_panes_on_all_partitions():
    table = table_of(
        pane(0, 0, [5, 5]),
        pane(1, 100, [5, 5]),
        pane(0, 200, [5, 5]),
        pane(0, 0, [5, 5], baseline="def"),
        examples(0, 0, (0, 3, "c"), (1, 9, "x")),
        examples(1, 100, (0, 1, "a"), (0, 2, "b"), (0, 4, "d")),
        examples(0, 200, (0, 0, "late")),
        examples(0, 0, (0, 0, "other"), baseline="def"),
    )
    assert table.named("images", "abc", Window(2 * HOUR, 0)) == {0: ("a", "b", "c"), 1: ("x",)}
    assert table.named("images", "abc", Window(HOUR, 0)) == {0: ("c",), 1: ("x",)}
    assert table.named("images", "abc", Window(HOUR, 300)) == {}
    assert table.named("texts", "abc", Window(HOUR, 0)) == {}


def test_examples_are_kept_by_partition_until_they_are_forgotten():
    table = table_of(pane(0, 0, [5, 5]), examples(0, 0, (0, 3, "c")), examples(0, 0, (0, 1, "a")))
    assert list(table.examples(PARTITIONS[0]).values()) == [(Example(0, 1, "a"),)]
    assert table.examples(PARTITIONS[1]) == {}
    table.apply(examples(0, 0))
    assert table.examples(PARTITIONS[0]) == {}
    assert table.named("images", "abc", Window(HOUR, 0)) == {}


def history(end_ms):
    return History("sha256:abc", end_ms, Recall((True,), 1.5), None, History.begin("", COMPONENTS, 0).clean)


def test_the_last_history_of_each_size_stands():
    table = table_of(
        *[
            Change(PARTITIONS[1], HistoryKey(stream, size_ms), history(end_ms))
            for stream, size_ms, end_ms in [
                ("images", HOUR, 100),
                ("images", 1_000, 1_000),
                ("texts", HOUR, 300),
                ("images", HOUR, 200),
            ]
        ]
    )
    assert {size: kept.end_ms for size, kept in table.histories("images").items()} == {
        HOUR: 200,
        1_000: 1_000,
    }
    table.apply(Change(PARTITIONS[1], HistoryKey("images", HOUR), None))
    assert set(table.histories("images")) == {1_000}
    assert table.histories("sounds") == {}


def test_changed_panes_are_told_once_and_for_each_stream():
    table = table_of(pane(0, 0, [1, 0]), pane(1, 0, [1, 0]), pane(0, 100, [1, 0], stream="texts"))
    assert table.take_changed("images") == {Window(HOUR, 0)}
    assert table.take_changed("images") == set()
    assert table.take_changed("texts") == {Window(HOUR, 100)}


def test_a_forgotten_pane_is_no_change_but_hides_none_against_another_baseline():
    table = table_of(pane(0, 0, [1, 0]), pane(0, 0, None))
    assert table.take_changed("images") == set()
    table.apply(pane(0, 0, [1, 0]))
    table.apply(pane(0, 0, [0, 1], baseline="def"))
    table.apply(pane(0, 0, None))
    assert table.take_changed("images") == {Window(HOUR, 0)}


def test_the_home_of_a_stream_is_chosen_once_and_stays():
    table = table_of()
    assert table.home("images", lambda stream: PARTITIONS[2]) == PARTITIONS[2]
    table.apply(final(1, 0))
    assert table.home("images", lambda stream: PARTITIONS[2]) == PARTITIONS[1]
    assert table.home("texts", lambda stream: PARTITIONS[0]) == PARTITIONS[0]


def test_finality_is_the_highest_that_was_written():
    assert table_of().final_ms("images") is None
    assert table_of(final(1, 100), final(1, 300), final(0, 900, stream="texts")).final_ms("images") == 300


def test_what_is_published_is_kept_until_it_is_forgotten():
    one, other = Window(HOUR, 0), Window(HOUR, 100)
    table = table_of(
        published(1, one), published(1, other, 3), published(1, one, 1), published(0, one, stream="texts")
    )
    assert {window: value.revision for window, value in table.published("images").items()} == {
        one: 1,
        other: 3,
    }
    table.apply(Change(PARTITIONS[1], PublishedKey("images", one), None))
    assert set(table.published("images")) == {other}


def test_the_newest_window_of_each_size_is_shown_with_its_last_revision_though_it_be_forgotten():
    hours, day = [Window(HOUR, 0), Window(HOUR, 100)], Window(1_000, 0)
    table = table_of(
        published(1, hours[1]), published(1, hours[0], 4), published(1, hours[1], 1), published(1, day)
    )
    table.apply(Change(PARTITIONS[1], PublishedKey("images", hours[1]), None))
    assert {key: (value.window, value.revision) for key, value in table.newest().items()} == {
        ("images", HOUR): (hours[1], 1),
        ("images", 1_000): (day, 0),
    }


def test_the_streams_watermark_is_the_lowest_of_its_partitions_less_the_disorder():
    here = lanes(
        StreamProgress(500), StreamProgress(200, idle_to_ms=400), StreamProgress(None, idle_to_ms=900)
    )
    assert here.watermark_ms("images", 30) == 370
    assert here.newest_ms("images") == 500


@pytest.mark.parametrize("last", [None, StreamProgress()])
def test_a_partition_that_has_come_to_nothing_counts_as_minus_infinity(last):
    here = lanes(StreamProgress(500), StreamProgress(500), last)
    assert here.watermark_ms("images", 30) is None
    assert here.newest_ms("images") == 500
    assert here.horizon_ms("images") is None


def test_an_added_partition_is_waited_for():
    table = table_of(progress(0, images=StreamProgress(500, horizon_ms=7)), expected=PARTITIONS[:1])
    assert (table.watermark_ms("images", 0), table.horizon_ms("images")) == (500, 7)
    table.expect(PARTITIONS[:2])
    assert (table.watermark_ms("images", 0), table.horizon_ms("images")) == (None, None)
    assert table.lanes("images") == {PARTITIONS[0]: StreamProgress(500, horizon_ms=7), PARTITIONS[1]: None}


def test_the_horizon_is_what_every_partition_has_applied():
    here = lanes(*[StreamProgress(500, horizon_ms=horizon_ms) for horizon_ms in (300, 200, 400)])
    assert here.horizon_ms("images") == 200


@pytest.mark.parametrize(
    ("idle_to_ms", "silent"), [((500, 500, 900), True), ((500, 499, 500), False), ((500, None, 500), False)]
)
def test_a_stream_is_silent_once_every_partition_was_idle_after_its_last_event_anywhere(idle_to_ms, silent):
    here = lanes(
        *[
            StreamProgress(newest_ms, idle)
            for newest_ms, idle in zip((500, None, 100), idle_to_ms, strict=True)
        ]
    )
    assert here.is_silent("images") is silent


def test_a_stream_without_an_event_or_with_an_unknown_partition_is_not_silent():
    assert not lanes(StreamProgress(), StreamProgress(), StreamProgress()).is_silent("images")
    assert not lanes(StreamProgress(5, 5), StreamProgress(5, 5), None).is_silent("images")


def test_the_baselines_in_force_are_those_that_every_known_partition_counts():
    old, both = (Counting("old"),), (Counting("old"), Counting("new", 300))
    assert lanes(StreamProgress(counting=both), StreamProgress(counting=old), None).eras(
        "images"
    ).in_force == ["old"]
    everywhere = lanes(*[StreamProgress(counting=both)] * 3)
    assert everywhere.eras("images").is_established("new")
    assert everywhere.eras("texts").in_force == []
    assert (everywhere.counts_against("new"), everywhere.counts_against("other")) == (True, False)


def part(partition, number, content, *, parts=2, baseline="abc"):
    return Change(PARTITIONS[partition], BaselineKey(baseline, number, parts), content)


def test_a_baselines_file_is_put_together_once_all_its_parts_are_kept():
    table = table_of(part(1, 1, b"world"))
    assert (table.baseline("abc"), table.baselines(PARTITIONS[1])) == (None, set())
    table.apply(part(1, 0, b"hello "))
    assert (table.baseline("abc"), table.baselines(PARTITIONS[1])) == (b"hello world", {"abc"})
    assert table.baseline("def") is None
    table.apply(part(1, 1, None))
    assert table.baseline("abc") is None
    assert table.baseline_parts(PARTITIONS[1]) == (BaselineKey("abc", 0, 2),)


def test_parts_on_several_partitions_or_of_several_cuts_are_not_mixed():
    table = table_of(part(0, 0, b"he"), part(1, 1, b"llo"), part(1, 0, b"x", parts=3))
    assert table.baseline("abc") is None
    table.apply(part(0, 1, b"llo"))
    assert table.baseline("abc") == b"hello"


def test_windows_that_hold_events_and_are_not_final_are_open():
    table = table_of(
        pane(0, 0, [1, 0]), pane(1, 100, [1, 0]), pane(1, 1_000, [1, 0], baseline="def"), final(0, 100)
    )
    assert table.open_windows("images", (HOUR, 1_000)) == {HOUR: 2, 1_000: 2}
    assert table.open_windows("texts", (HOUR,)) == {HOUR: 0}
