"""Tumbling windows at their home: due, incomplete, revised, final; from what the table says alone."""

from dataclasses import replace

import numpy as np
import pytest
from driftgauge.core.old_windows import Windows
from driftgauge.core.state import (
    Change,
    Counting,
    FinalKey,
    Gap,
    HistoryKey,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.table import Table

from driftgauge.core import windows as module
from driftgauge.core.reference import SegmentReference
from driftgauge.core.result import Verdict
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    CLUSTERS,
    DAY_MS,
    FIRST,
    HOUR_MS,
    MINUTE_MS,
    OTHER,
    build_partitions,
    build_reference,
    build_spec,
    build_tally,
    plain,
)

HOME, AWAY = PARTITIONS = build_partitions(2)
NOON_MS = 12 * HOUR_MS  # wall time, unless a test says otherwise
RICH = build_reference("rich", count=100_000)


def hour(number):
    return Window(HOUR_MS, number * HOUR_MS)


class Home:
    """The owner of a stream's home partition, and what all partitions have committed."""

    def __init__(self, **spec):
        self.spec = build_spec(**spec)
        self.table = Table()
        self.table.expect(PARTITIONS)
        self.lanes = {}
        for partition in PARTITIONS:
            self.reach(partition, counting=(Counting(FIRST.key),))
        self.known = {FIRST.key: FIRST, OTHER.key: OTHER, RICH.key: RICH}
        self.begin()

    def begin(self):
        """Hold the home anew."""
        self.windows = Windows(self.spec, self.table)

    def reach(self, *partitions, **progress):
        """Let partitions come so far, in milliseconds."""
        for partition in partitions:
            lane = replace(self.lanes.get(partition, StreamProgress()), **progress)
            self.lanes[partition] = lane
            self.table.apply(Change(partition, ProgressKey(), Progress(0, {"images": lane})))

    def count(self, partition, start_ms, *counts, baseline=FIRST):
        """Let a partition have these counts in the pane that begins then."""
        key = PaneKey("images", baseline.key, Window(self.spec.pane_ms, start_ms))
        self.table.apply(Change(partition, key, build_tally(*counts, reference=baseline) if counts else None))

    def close(self, *, now_ms=NOON_MS, **how):
        """Do a round, and make it stand; return its results."""
        closed = self.windows.close(now_ms, self.known.get, **how)
        self.changes = closed.changes
        for key, value in closed.changes.items():
            self.table.apply(Change(HOME, key, value))
        return closed.results

    def closed(self, **how):
        """(window, revision, counts) of what a round brings."""
        return [(r.window, r.revision, r.counts.tolist()) for r in self.close(**how)]


@pytest.fixture
def home():
    """A home after its first round, which says that it is one."""
    home = Home()
    home.close()
    return home


def test_a_window_is_due_when_every_partition_has_passed_its_end(home):
    home.count(HOME, 0, 1, 2, 0, 0)
    home.count(AWAY, 0, 0, 0, 3, 0)
    home.reach(HOME, newest_ms=HOUR_MS)
    home.reach(AWAY, newest_ms=HOUR_MS - 1)
    assert home.closed() == []
    home.reach(AWAY, newest_ms=HOUR_MS)
    (result,) = home.close()
    assert (result.stream, result.window, result.revision, result.missing) == ("images", hour(0), 0, ())
    assert result.counts.tolist() == [1, 2, 3, 0]
    assert result.baseline_id == FIRST.baseline_id
    np.testing.assert_array_equal(result.baseline_counts, FIRST.counts)
    assert (result.published_ms, result.events_lost) == (NOON_MS, False)
    assert home.closed() == []


def test_the_allowed_disorder_is_waited_for():
    home = Home(disorder_ms=MINUTE_MS)
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS + MINUTE_MS - 1)
    assert home.closed() == []
    home.reach(*PARTITIONS, newest_ms=HOUR_MS + MINUTE_MS)
    assert home.closed() == [(hour(0), 0, [1, 0, 0, 0])]


def test_windows_close_oldest_end_first_and_the_smaller_of_equals_before_the_larger():
    home = Home(sizes_ms=(HOUR_MS, DAY_MS))
    for start_ms in (DAY_MS - HOUR_MS, 0, DAY_MS):
        home.count(HOME, start_ms, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=2 * DAY_MS)
    assert [window for window, _, _ in home.closed()] == [
        hour(0),
        hour(23),
        Window(DAY_MS, 0),
        hour(24),
        Window(DAY_MS, DAY_MS),
    ]


@pytest.mark.parametrize(("min_events", "scored"), [(3, True), (4, False)])
def test_a_window_with_too_few_events_is_published_without_a_score(min_events, scored):
    home = Home(min_events=min_events)
    home.count(HOME, 0, 1, 2, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    (result,) = home.close()
    assert (result.score is not None) is scored


def test_a_changed_window_gets_the_next_revision_with_the_whole_count(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.count(AWAY, 0, 0, 0, 0, 5)
    assert home.closed() == [(hour(0), 1, [1, 0, 0, 5])]
    assert home.closed() == []


def test_silence_closes_a_window_once_it_has_ended_by_wall_time(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(HOME, newest_ms=5, idle_to_ms=5)
    assert home.closed() == []
    home.reach(AWAY, idle_to_ms=5)
    assert home.closed(now_ms=HOUR_MS - 1) == []
    assert home.closed(now_ms=HOUR_MS) == [(hour(0), 0, [1, 0, 0, 0])]


def test_a_window_closed_by_silence_is_revised_when_it_is_due_again_and_not_before(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=5, idle_to_ms=5)
    home.close()
    home.count(HOME, 0, 2, 0, 0, 0)
    home.reach(HOME, newest_ms=6)
    assert home.closed() == []
    home.reach(*PARTITIONS, idle_to_ms=6)
    assert home.closed() == [(hour(0), 1, [2, 0, 0, 0])]


def test_a_window_that_waits_too_long_for_a_partition_is_published_without_it():
    home = Home(incomplete_ms=5 * MINUTE_MS, disorder_ms=MINUTE_MS)
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(HOME, newest_ms=HOUR_MS + MINUTE_MS)
    home.reach(AWAY, newest_ms=HOUR_MS)
    assert home.closed(now_ms=NOON_MS) == []
    assert home.closed(now_ms=NOON_MS + 5 * MINUTE_MS - 1) == []
    (result,) = home.close(now_ms=NOON_MS + 5 * MINUTE_MS)
    assert (result.revision, result.missing) == (0, (AWAY,))
    assert home.closed(now_ms=NOON_MS + 6 * MINUTE_MS) == []
    home.count(AWAY, 0, 0, 1, 0, 0)
    (result,) = home.close(now_ms=NOON_MS + 7 * MINUTE_MS)
    assert (result.revision, result.missing, result.count) == (1, (AWAY,), 2)
    home.reach(AWAY, newest_ms=2 * HOUR_MS)
    (result,) = home.close(now_ms=NOON_MS + 8 * MINUTE_MS)
    assert (result.revision, result.missing, result.count) == (2, (), 2)


def test_a_partition_that_was_never_heard_of_is_missing():
    home = Home(incomplete_ms=5 * MINUTE_MS)
    added = ("embeddings", 2)
    home.table.expect([*PARTITIONS, added])
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    assert home.closed() == []
    (result,) = home.close(now_ms=NOON_MS + 5 * MINUTE_MS)
    assert result.missing == (added,)


def test_a_window_that_nobody_has_passed_waits_however_long():
    home = Home(incomplete_ms=5 * MINUTE_MS)
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(HOME, newest_ms=HOUR_MS - 1)
    assert home.closed() == []
    assert home.closed(now_ms=NOON_MS + DAY_MS) == []


def test_windows_are_final_up_to_the_horizon_that_every_partition_has_applied(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(HOME, newest_ms=5 * HOUR_MS, horizon_ms=2 * HOUR_MS)
    home.reach(AWAY, newest_ms=5 * HOUR_MS)
    home.close()
    assert FinalKey("images") not in home.changes
    home.reach(AWAY, horizon_ms=HOUR_MS)
    assert home.closed() == []
    assert home.changes == {FinalKey("images"): HOUR_MS}


def test_the_first_round_settles_the_home():
    home = Home()
    assert home.closed() == []
    assert home.changes == {FinalKey("images"): 0}
    assert home.table.home("images", lambda stream: AWAY) == HOME


def test_a_last_look_takes_in_what_came_before_the_horizon(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.count(AWAY, 0, 0, 1, 0, 0)
    home.reach(*PARTITIONS, newest_ms=3 * HOUR_MS, horizon_ms=HOUR_MS)
    assert home.closed() == [(hour(0), 1, [1, 1, 0, 0])]
    assert home.changes[FinalKey("images")] == HOUR_MS


def test_a_window_that_is_final_is_not_revised_though_a_larger_one_keeps_its_panes():
    home = Home(sizes_ms=(HOUR_MS, DAY_MS))
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS, horizon_ms=HOUR_MS)
    assert [window for window, _, _ in home.closed()] == [hour(0)]
    home.count(HOME, 0, 2, 0, 0, 0)
    assert home.closed() == []
    home.reach(*PARTITIONS, newest_ms=DAY_MS)
    assert home.closed() == [(Window(DAY_MS, 0), 0, [2, 0, 0, 0])]


def test_what_was_published_is_kept_while_open_and_the_newest_of_each_size_longer(home):
    for number in (0, 1, 2):
        home.count(HOME, number * HOUR_MS, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=3 * HOUR_MS)
    assert len(home.close()) == 3
    home.reach(*PARTITIONS, horizon_ms=2 * HOUR_MS)
    home.close()
    assert set(home.table.published("images")) == {hour(2)}
    home.reach(*PARTITIONS, horizon_ms=3 * HOUR_MS)
    home.close()
    assert set(home.table.published("images")) == {hour(2)}


def test_a_new_owner_publishes_nothing_again_and_goes_on_with_the_revisions(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.count(HOME, HOUR_MS, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.begin()
    assert home.closed() == []
    home.count(HOME, 0, 2, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=2 * HOUR_MS)
    assert home.closed() == [(hour(0), 1, [2, 0, 0, 0]), (hour(1), 0, [1, 0, 0, 0])]


def test_a_new_owner_takes_up_what_had_changed_since(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.count(HOME, 0, 2, 0, 0, 0)
    home.begin()
    assert home.closed() == [(hour(0), 1, [2, 0, 0, 0])]


def test_less_than_was_published_is_older_and_waited_out(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.count(AWAY, 0, 0, 5, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.count(AWAY, 0, 0, 3, 0, 0)  # as a table knew it that had not read so far
    assert home.closed() == []
    home.count(AWAY, 0, 0, 7, 0, 0)
    assert home.closed() == [(hour(0), 1, [1, 7, 0, 0])]


def test_windows_published_before_a_loss_was_known_say_so_with_a_revision(home):
    for number in (0, 1, 2):
        home.count(HOME, number * HOUR_MS, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=3 * HOUR_MS)
    assert [result.events_lost for result in home.close()] == [False] * 3
    home.reach(AWAY, gap=Gap(HOUR_MS, 2 * HOUR_MS - 1))
    (result,) = home.close()
    assert (result.window, result.revision, result.events_lost) == (hour(1), 1, True)
    assert home.closed() == []


def test_a_loss_that_is_settled_later_is_not_forgotten_by_what_was_published(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.reach(AWAY, gap=Gap(None))
    assert [result.events_lost for result in home.close()] == [True]
    home.reach(AWAY, gap=None)
    home.count(HOME, 0, 2, 0, 0, 0)
    assert [result.events_lost for result in home.close()] == [True]


def test_a_loss_makes_no_window_of_nothing(home):
    home.reach(*PARTITIONS, newest_ms=HOUR_MS, gap=Gap(None))
    assert home.closed() == []


def roll_out(home, from_ms):
    home.reach(*PARTITIONS, counting=(Counting(FIRST.key), Counting(OTHER.key, from_ms)))


def test_each_window_is_counted_against_the_baseline_in_force_when_it_began(home):
    roll_out(home, HOUR_MS)
    for number in (0, 1):
        home.count(HOME, number * HOUR_MS, 1, 0, 0, 0)
        home.count(HOME, number * HOUR_MS, 0, 1, 0, 0, baseline=OTHER)
    home.reach(*PARTITIONS, newest_ms=2 * HOUR_MS)
    results = home.close()
    assert [(r.window, r.baseline_id, r.counts.tolist()) for r in results] == [
        (hour(0), FIRST.baseline_id, [1, 0, 0, 0]),
        (hour(1), OTHER.baseline_id, [0, 1, 0, 0]),
    ]


def test_what_changes_against_another_baseline_alone_is_no_revision(home):
    roll_out(home, 5 * HOUR_MS)
    home.count(HOME, 0, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS)
    home.close()
    home.count(HOME, 0, 0, 9, 0, 0, baseline=OTHER)
    assert home.closed() == []


def test_a_window_whose_baseline_is_not_to_be_had_waits_and_is_not_final(home):
    roll_out(home, HOUR_MS)
    home.count(HOME, 0, 1, 0, 0, 0)
    home.count(HOME, HOUR_MS, 0, 1, 0, 0, baseline=OTHER)
    home.reach(*PARTITIONS, newest_ms=9 * HOUR_MS, horizon_ms=9 * HOUR_MS)
    del home.known[OTHER.key]
    assert [window for window, _, _ in home.closed()] == [hour(0)]
    assert home.changes[FinalKey("images")] == HOUR_MS
    home.known[OTHER.key] = OTHER
    assert [window for window, _, _ in home.closed()] == [hour(1)]
    assert home.changes[FinalKey("images")] == 9 * HOUR_MS


def test_windows_from_before_the_first_baseline_that_all_count_hold_nothing_up(home):
    home.reach(HOME, counting=(Counting(FIRST.key), Counting(OTHER.key, HOUR_MS)))
    home.reach(AWAY, counting=(Counting(OTHER.key), Counting(FIRST.key, 2 * HOUR_MS)))
    for number in (0, 1):
        home.count(HOME, number * HOUR_MS, 1, 0, 0, 0)
        home.count(HOME, number * HOUR_MS, 0, 1, 0, 0, baseline=OTHER)
    home.reach(*PARTITIONS, newest_ms=9 * HOUR_MS, horizon_ms=9 * HOUR_MS)
    assert home.closed() == [(hour(1), 0, [0, 1, 0, 0])]
    assert home.changes[FinalKey("images")] == 9 * HOUR_MS


def test_windows_of_new_sizes_take_the_panes_that_lie_within_them(home):
    home.count(HOME, 0, 5, 0, 0, 0)
    home.spec = build_spec(sizes_ms=(HOUR_MS // 2, 2 * HOUR_MS))
    home.begin()
    home.count(HOME, HOUR_MS, 0, 1, 0, 0)
    home.count(HOME, 3 * HOUR_MS // 2, 0, 1, 0, 0)
    home.reach(*PARTITIONS, newest_ms=2 * HOUR_MS)
    assert home.closed() == [
        (Window(HOUR_MS // 2, HOUR_MS), 0, [0, 1, 0, 0]),
        (Window(HOUR_MS // 2, 3 * HOUR_MS // 2), 0, [0, 1, 0, 0]),
        (Window(2 * HOUR_MS, 0), 0, [5, 2, 0, 0]),
    ]


def test_when_the_source_has_ended_every_window_is_due(home):
    home.count(HOME, 0, 1, 0, 0, 0)
    home.count(AWAY, 7 * HOUR_MS, 0, 1, 0, 0)
    assert home.closed() == []
    assert home.closed(everything=True) == [(hour(0), 0, [1, 0, 0, 0]), (hour(7), 0, [0, 1, 0, 0])]
    assert home.closed(everything=True) == []


def test_the_state_is_all_that_was_written_and_not_forgotten(home):
    for number in (0, 1):
        home.count(HOME, number * HOUR_MS, 1, 0, 0, 0)
    home.reach(*PARTITIONS, newest_ms=3 * HOUR_MS, horizon_ms=HOUR_MS)
    home.close()
    state = home.windows.state()
    assert {key: value for key, value in state.items() if isinstance(key, PublishedKey)} == {
        PublishedKey("images", window): value for window, value in home.table.published("images").items()
    }
    assert state[FinalKey("images")] == HOUR_MS
    assert {key: value for key, value in state.items() if isinstance(key, HistoryKey)} == {
        HistoryKey("images", HOUR_MS): home.table.histories("images")[HOUR_MS]
    }
    assert len(state) == 3


MOVED, QUIET = (2_000, 1_000, 680, 320), (1_600, 1_200, 800, 400)


def rich_home(**spec):
    """A home that counts against a baseline of many events."""
    home = Home(**{"reference": RICH} | spec)
    home.reach(*PARTITIONS, counting=(Counting(RICH.key),))
    return home


def pass_hour(home, number, counts):
    """Let an hour have these counts, and be passed; return its results."""
    home.count(HOME, number * HOUR_MS, *counts, baseline=RICH)
    home.reach(*PARTITIONS, newest_ms=(number + 1) * HOUR_MS)
    return home.close()


def test_a_history_is_written_with_the_result_that_entered_it_and_with_no_revision():
    home = rich_home()
    pass_hour(home, 0, MOVED)
    key = HistoryKey("images", HOUR_MS)
    assert home.changes[key].end_ms == HOUR_MS
    home.count(AWAY, 0, 0, 0, 0, 5, baseline=RICH)
    assert len(home.close()) == 1
    assert key not in home.changes


@pytest.mark.parametrize("restarts", [(), (1,), (2,), (1, 2, 3)])
def test_a_restart_between_the_windows_of_a_drift_changes_nothing(restarts):
    whole, broken = rich_home(), rich_home()
    verdicts = []
    for number, counts in enumerate((MOVED, QUIET, MOVED, QUIET)):
        if number in restarts:
            broken.begin()
        ((expected,), (result,)) = (pass_hour(home, number, counts) for home in (whole, broken))
        assert plain(result) == plain(expected)
        verdicts.append(result.verdict)
    assert verdicts == [Verdict.WARNING, Verdict.OK, Verdict.DRIFT, Verdict.OK]


def test_windows_that_are_due_at_once_are_judged_one_after_the_other():
    home = rich_home()
    for number, counts in enumerate((MOVED, QUIET, MOVED)):
        home.count(HOME, number * HOUR_MS, *counts, baseline=RICH)
    home.reach(*PARTITIONS, newest_ms=3 * HOUR_MS)
    assert [result.recall.recent for result in home.close()] == [(), (True,), (True, False)]
    assert home.changes[HistoryKey("images", HOUR_MS)].recall.recent == (False, True)


@pytest.mark.parametrize(
    ("few", "besides", "segment_keys", "work", "a_round"),
    [
        (3, 0, (), 4 * CLUSTERS, 4),
        (3, 0, (), 4 * CLUSTERS - 1, 3),
        (3, 0, ("country",), 4 * CLUSTERS, 2),
        (3, CLUSTERS, (), 4 * CLUSTERS, 2),
        (3, 0, ("country",), 1, 1),
        # As if these were few: each takes as long as of 300.
        (CLUSTERS, 0, (), 2 * 300, 2),
    ],
)
def test_a_round_does_so_much_work_and_the_next_goes_on(
    monkeypatch, few, besides, segment_keys, work, a_round
):
    monkeypatch.setattr(module, "_FEW_CLUSTERS", few)
    monkeypatch.setattr(module, "_WORK_BESIDES_CLUSTERS", besides)
    part = SegmentReference("country", "other", RICH.counts, np.zeros(2), np.eye(2))
    reference = replace(RICH, segments=(part,))
    at_once = rich_home(reference=reference)
    monkeypatch.setattr(module, "_MAX_WORK", work)
    alarm = replace(build_spec().alarm, segment_keys=segment_keys)
    by_rounds = rich_home(reference=reference, alarm=alarm)
    for home in (at_once, by_rounds):
        for number, counts in enumerate((MOVED, QUIET, MOVED, QUIET)):
            home.count(HOME, number * HOUR_MS, *counts, baseline=RICH)
        home.reach(*PARTITIONS, newest_ms=4 * HOUR_MS)
    expected = at_once.close()
    assert len(expected) == 4
    found = []
    while results := by_rounds.close():
        assert len(results) == min(a_round, 4 - len(found))
        found += results
    assert [plain(replace(result, segments=())) for result in found] == [plain(result) for result in expected]


def test_what_is_left_to_the_next_round_is_not_made_final(monkeypatch):
    at_once = rich_home()
    monkeypatch.setattr(module, "_MAX_WORK", 1)
    by_rounds = rich_home()
    for home in (at_once, by_rounds):
        for number, counts in enumerate((MOVED, QUIET, MOVED, QUIET)):
            home.count(HOME, number * HOUR_MS, *counts, baseline=RICH)
        home.reach(*PARTITIONS, newest_ms=400 * HOUR_MS, horizon_ms=300 * HOUR_MS)
    expected, found = at_once.close(), []
    while results := by_rounds.close():
        found += results
    assert [plain(result) for result in found] == [plain(result) for result in expected]
    assert len(found) == 4
    assert by_rounds.table.final_ms("images") == at_once.table.final_ms("images") == 300 * HOUR_MS


def test_a_window_that_lacks_a_partition_enters_when_that_has_come():
    home = rich_home(incomplete_ms=5 * MINUTE_MS)
    home.count(HOME, 0, *MOVED, baseline=RICH)
    home.reach(HOME, newest_ms=HOUR_MS)
    home.close()
    (result,) = home.close(now_ms=NOON_MS + 5 * MINUTE_MS)
    assert (result.verdict, result.recall) == (Verdict.INCOMPLETE, None)
    assert result.score is not None
    assert home.table.histories("images") == {}
    home.reach(AWAY, newest_ms=HOUR_MS)
    (result,) = home.close(now_ms=NOON_MS + 6 * MINUTE_MS)
    assert (result.verdict, result.superseded) == (Verdict.WARNING, Verdict.INCOMPLETE)
    assert home.table.histories("images")[HOUR_MS].recall.recent == (True,)


def test_a_window_that_is_incomplete_once_more_is_judged_with_what_it_was_before():
    # Silence has closed it; then one partition speaks again, and another is waited for.
    home = rich_home(incomplete_ms=5 * MINUTE_MS)
    pass_hour(home, 0, MOVED)
    home.count(HOME, HOUR_MS, *MOVED, baseline=RICH)
    home.reach(*PARTITIONS, newest_ms=HOUR_MS + 5, idle_to_ms=HOUR_MS + 5)
    (first,) = home.close()
    assert (first.window, first.verdict) == (hour(1), Verdict.DRIFT)
    home.count(HOME, HOUR_MS, 2_001, *MOVED[1:], baseline=RICH)
    home.reach(HOME, newest_ms=2 * HOUR_MS)
    home.close()
    (between,) = home.close(now_ms=NOON_MS + 5 * MINUTE_MS)
    assert (between.verdict, between.missing) == (Verdict.INCOMPLETE, (AWAY,))
    home.reach(AWAY, newest_ms=2 * HOUR_MS)
    (again,) = home.close(now_ms=NOON_MS + 6 * MINUTE_MS)
    assert (again.verdict, again.recall, again.revision) == (Verdict.DRIFT, first.recall, 2)
