"""Ownership over stand-ins for the broker: what it counts, publishes, commits, and does again."""

from collections import defaultdict

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.state import Progress
from tests.kafka.parts import SPEC, START_MS, TOPIC, Record, RecordingState, Replica, event

SECOND, FOUR = "1s", "4s"
JUNK = b"not json"
LONG_MS = 600_000


@pytest.fixture
def replica():
    return Replica()


def shown(replica, size=SECOND):
    """Return what was published of one size: (start after the first, revision, count)."""
    return [
        (window["start"][17:19], window["revision"], window["count"])
        for window in replica.windows
        if window["window"] == size
    ]


def test_a_window_is_published_and_shown_once_the_watermark_has_passed_its_end(replica):
    replica.read(event(100), event(900, cluster=1), event(1_499))
    replica.commit()
    assert shown(replica) == []
    replica.read(event(1_500), offset=3)
    replica.commit()
    assert shown(replica) == [("00", 0, 2)]
    assert [cluster["count"] for cluster in replica.windows[0]["clusters"]] == [1, 1, 0, 0]
    assert replica.value("window_events", stream="images", window=SECOND) == 2
    assert replica.value("windows_closed_total", stream="images", window=SECOND, outcome="scored") == 1


def test_an_event_for_a_closed_window_gives_a_higher_revision(replica):
    replica.read(event(100), event(1_600))
    replica.commit()
    replica.read(event(200), offset=2)
    replica.commit()
    assert shown(replica) == [("00", 0, 1), ("00", 1, 2)]
    assert replica.value("window_revisions_total", stream="images", window=SECOND) == 1


def test_the_committed_offset_is_the_first_of_an_open_pane_and_the_position_is_beside_it(replica):
    replica.read(event(100), event(1_600))
    replica.commit()
    assert replica.state.commits[-1][0] == (Progress(TOPIC, 0, position=2, first_open=0),)
    replica.read(event(10_000), offset=2)
    replica.commit()
    assert replica.state.commits[-1][0] == (Progress(TOPIC, 0, position=3, first_open=2),)


def test_a_partition_that_nothing_is_known_of_is_not_committed():
    replica = Replica(partitions=2)
    replica.read(event(0), partition=1)
    replica.commit()
    assert [at.partition for at in replica.state.commits[-1][0]] == [1]


def test_nothing_is_committed_again_while_nothing_changes(replica):
    replica.read(event(0))
    for _ in range(3):
        replica.commit()
    assert len(replica.state.commits) == 1


def test_a_refused_event_is_sent_on_as_it_was_and_counted_by_reason(replica):
    replica.read(JUNK, event(0, model_version="v6"), event(0), event(LONG_MS * 100), None)
    replica.commit()
    sent = [(value, dict(headers)) for _, value, headers in replica.producer.to("letters")]
    assert [value for value, _ in sent] == [JUNK, event(0, model_version="v6"), event(LONG_MS * 100), None]
    reasons = [headers["driftgauge.reason"] for _, headers in sent]
    assert reasons == [b"undecodable", b"wrong_model", b"future", b"undecodable"]
    assert [headers["driftgauge.offset"] for _, headers in sent] == [b"0", b"1", b"3", b"4"]
    assert replica.events("undecodable", stream="") == 2
    assert replica.events("wrong_model") == replica.events("future") == replica.events("accepted") == 1


def test_refused_events_are_read_past(replica):
    replica.read(JUNK, JUNK)
    replica.commit()
    assert replica.state.commits[-1][0] == (Progress(TOPIC, 0, position=2, first_open=2),)


def test_an_event_whose_products_overflow_is_sent_on_as_not_finite(replica):
    huge = event(0).replace(b"[1.0,0.0,0.0,0.0]", b"[3e38,-3e38,3e38,3e38]")
    replica.read(huge, event(0))
    replica.commit()
    (letter,) = replica.letters
    assert letter["driftgauge.reason"] == b"non_finite"
    assert b"overflow" in letter["driftgauge.detail"]
    assert replica.events("non_finite") == replica.events("accepted") == 1


def test_an_event_that_is_late_and_overflows_as_well_is_sent_on_once(replica):
    replica.read(event(0), event(10_000))
    replica.commit()
    replica.read(event(500).replace(b"[1.0,0.0,0.0,0.0]", b"[3e38,-3e38,3e38,3e38]"), offset=2)
    replica.commit()
    assert [letter["driftgauge.reason"] for letter in replica.letters] == [b"non_finite"]
    assert replica.events("late") == 0


def test_an_event_past_correction_is_late_and_counted_by_window_size(replica):
    replica.read(event(0), event(10_000))
    replica.commit()
    replica.read(event(500), event(10_100), offset=2)
    replica.commit()
    (letter,) = replica.letters
    assert letter["driftgauge.reason"] == b"late"
    assert letter["driftgauge.offset"] == b"2"
    assert replica.events("late") == 1
    assert replica.events("accepted") == 3
    for window in (SECOND, FOUR):
        assert replica.value("late_events_total", stream="images", window=window) == 1


def test_an_event_that_is_late_for_the_small_window_only_is_counted_and_not_sent_on(replica):
    replica.read(event(0), event(3_600))  # horizon: 2,100
    replica.commit()
    replica.read(event(500), event(6_000), offset=2)
    replica.commit()
    assert replica.letters == []
    assert replica.events("accepted") == 4
    assert replica.value("late_events_total", stream="images", window=SECOND) == 1
    assert replica.value("late_events_total", stream="images", window=FOUR) == 0
    assert shown(replica, FOUR) == [("00", 0, 3)]


def test_counters_move_with_the_commit_and_not_before(replica):
    replica.read(event(0), JUNK)
    assert replica.events("accepted") == replica.events("undecodable", stream="") == 0
    replica.commit()
    assert replica.events("accepted") == replica.events("undecodable", stream="") == 1
    replica.commit()
    assert replica.events("accepted") == 1, "and once"
    assert replica.value("commits_total", outcome="ok") == 1


def test_a_flush_that_is_not_complete_commits_nothing_and_keeps_the_tally(replica):
    replica.producer.unsent = 1
    replica.read(event(100), event(1_600), JUNK)
    replica.commit()
    assert replica.state.commits == []
    assert replica.events("accepted") == 0
    assert replica.value("window_events", stream="images", window=SECOND) is None
    assert replica.value("commits_total", outcome="error") == 1
    replica.producer.unsent = 0
    replica.read(event(1_700), offset=3)
    replica.commit()
    assert replica.state.commits[-1][0] == (Progress(TOPIC, 0, position=4, first_open=0),)
    assert replica.events("accepted") == 3
    assert replica.value("window_events", stream="images", window=SECOND) == 1
    assert len(replica.letters) == 1, "it is not written twice"


def test_a_state_that_cannot_be_committed_keeps_the_tally_and_is_tried_again(replica):
    replica.state.refusals = 2
    replica.read(event(100), event(1_600))
    for attempt in range(2):
        replica.commit()
        assert replica.events("accepted") == 0
        assert replica.value("window_events", stream="images", window=SECOND) is None
        assert replica.value("commits_total", outcome="error") == attempt + 1
    replica.commit()
    assert len(replica.state.commits) == 1
    assert replica.events("accepted") == 2
    assert replica.value("window_events", stream="images", window=SECOND) == 1
    assert shown(replica) == [("00", 0, 1)], "the result was written once"


def test_a_result_alone_is_reason_enough_to_commit(replica):
    # The window closes by silence: nothing was read since the last commit.
    replica.read(event(100))
    replica.commit()
    replica.clock.now_ms += SPEC.idle_ms
    replica.ends.ends[TOPIC, 0] = 1
    replica.commit()
    assert len(replica.state.commits) == 1
    replica.commit()
    assert shown(replica) == [("00", 0, 1)]
    assert len(replica.state.commits) == 2


def test_silence_asks_for_the_end_and_a_partition_that_is_behind_it_is_not_idle(replica):
    replica.read(event(100))
    replica.commit()
    assert replica.ends.requests[-1] == {}
    replica.clock.now_ms += SPEC.idle_ms
    replica.commit()
    assert replica.ends.requests[-1] == {0: (TOPIC, 0)}
    replica.ends.ends[TOPIC, 0] = 2  # one more is waiting unread
    replica.commit()
    assert shown(replica) == []
    replica.ownership.process([Record(offset=2, error=KafkaError(KafkaError._PARTITION_EOF))])
    replica.commit()
    assert shown(replica) == [("00", 0, 1)]


def test_a_refused_result_is_a_broker_error_and_nothing_is_committed(replica):
    replica.producer.refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    replica.read(event(100), event(1_600))
    with pytest.raises(BrokerError):
        replica.commit()
    assert replica.state.commits == []
    assert replica.events("accepted") == 0


def test_a_partition_that_goes_back_stops_it_rather_than_being_counted_twice(replica):
    replica.read(event(100), event(200), event(300))
    with pytest.raises(
        StateError, match=r"embeddings\[0\] went back from offset 3 to 1: .* use another group.id"
    ):
        replica.read(event(200), offset=1)
    replica.commit()
    assert replica.events("accepted") == 3


def test_the_end_of_a_partition_may_be_told_in_the_poll_that_brings_its_last_records(replica):
    end = Record(offset=2, error=KafkaError(KafkaError._PARTITION_EOF))
    stamp = (TIMESTAMP_CREATE_TIME, replica.clock())
    records = [Record(event(100 + place), offset=place, stamp=stamp) for place in range(2)]
    replica.ownership.process([*records, end])
    replica.commit()
    assert replica.events("accepted") == 2


def restarted(replica, partitions=1):
    """Return the replica that follows one that was killed; it has a producer of its own."""
    return Replica(partitions, state=replica.state, clock=replica.clock)


def test_nothing_is_closed_or_committed_while_an_earlier_runs_events_are_counted_again(replica):
    values = [event(100), event(200), event(1_600)]
    replica.read(*values)
    replica.commit()
    after = restarted(replica)
    assert not after.ownership.caught_up
    after.read(*values[:2])
    after.commit()
    assert (after.windows, len(after.state.commits), after.events("replayed")) == ([], 1, 0)
    after.read(values[2], offset=2)
    assert after.ownership.caught_up
    after.commit()
    assert shown(after) == [("00", 0, 2)], "published once more, under the revision it had"
    assert after.events("replayed") == 3


def test_what_is_counted_again_is_not_accepted_again_and_not_sent_on_again(replica):
    values = [event(100), JUNK, event(LONG_MS * 100), event(200)]
    replica.read(*values)
    replica.commit()
    assert len(replica.letters) == 2
    after = restarted(replica)
    after.read(*values, event(300), JUNK)
    after.commit()
    assert [letter["driftgauge.offset"] for letter in after.letters] == [b"5"]
    assert after.events("replayed") == 2
    assert after.events("accepted") == 1
    assert after.events("undecodable", stream="") == 1
    assert after.events("future") == 0


def test_what_was_late_is_late_when_read_again_and_not_reported_twice(replica):
    values = [event(10_000), event(500)]
    replica.read(event(0), offset=0)
    replica.read(values[0], offset=1)
    replica.commit()
    replica.read(values[1], offset=2)
    replica.commit()
    assert replica.events("late") == 1
    assert replica.state.commits[-1][0][0].first_open == 1
    after = restarted(replica)
    after.read(*values, event(11_600), offset=1)
    after.commit()
    assert after.letters == []
    assert after.events("late") == 0
    assert after.value("late_events_total", stream="images", window=SECOND) == 0
    assert shown(after) == [("10", 0, 1)]


def test_work_that_was_not_committed_is_done_again_in_full(replica):
    replica.state.refusals = 1
    values = [event(100), JUNK]
    replica.read(*values)
    replica.commit()
    after = restarted(replica)
    after.read(*values)
    after.commit()
    assert len(after.letters) == 1
    assert after.events("accepted") == 1
    assert after.events("replayed") == 0


def test_positions_are_exported_of_the_partitions_that_something_is_known_of():
    class Consumer:
        def get_watermark_offsets(self, partition, *, cached):
            assert cached
            return 0, {0: 12, 1: 7, 2: -1001}[partition.partition]

    replica = Replica(partitions=3)
    replica.read(event(0), offset=9)
    replica.read(event(0), partition=2)
    replica.ownership.report_positions(Consumer())
    assert replica.value("consumer_position_offset", topic=TOPIC, partition="0") == 10
    assert replica.value("consumer_lag_messages", topic=TOPIC, partition="0") == 2
    for partition in ("1", "2"):
        assert replica.value("consumer_lag_messages", topic=TOPIC, partition=partition) is None


# --- properties over random events ---

PARTITIONS = 3
STEPS = st.lists(
    st.tuples(
        st.integers(0, PARTITIONS - 1),
        st.lists(st.tuples(st.integers(0, 1_500), st.integers(0, 500), st.integers(0, 3)), max_size=4),
    ),
    min_size=1,
    max_size=25,
)


def lay_out(steps, disorder_ms):
    """Return the log of each partition, and the batches in which it is read: (partition, start, end).

    Each event is a step after the one before, then set back by up to the disorder. The last of each
    partition is far ahead and closes what there is.
    """
    logs, newest = defaultdict(list), defaultdict(int)
    batches = []
    for partition, batch in steps:
        start = len(logs[partition])
        for step_ms, back_ms, cluster in batch:
            newest[partition] += step_ms
            time_ms = max(newest[partition] - min(back_ms, disorder_ms), 0)
            logs[partition].append((time_ms, cluster))
        batches.append((partition, start, len(logs[partition])))
    for partition in range(PARTITIONS):
        batches.append((partition, len(logs[partition]), len(logs[partition]) + 1))
        logs[partition].append((LONG_MS, 0))
    return logs, batches


def run(replica, logs, batches):
    """Read the batches, with a commit after each; return by number of commits how many results were sent."""
    sent = {0: 0}
    for partition, start, end in batches:
        replica.read(*(event(*at) for at in logs[partition][start:end]), partition=partition, offset=start)
        replica.commit()
        sent.setdefault(len(replica.state.commits), len(replica.windows))
    return sent


def final(windows):
    """Return the counts last published of each window, as the topic's readers see them."""
    return {
        (window["window"], window["start"]): tuple(cluster["count"] for cluster in window["clusters"])
        for window in windows
    }


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 500, 100_000]))
def test_the_committed_offset_never_passes_an_event_of_an_open_pane(steps, disorder_ms):
    logs, batches = lay_out(steps, disorder_ms)
    replica = Replica(PARTITIONS)
    run(replica, logs, batches)
    assert replica.state.commits
    late = {(letter["driftgauge.partition"], letter["driftgauge.offset"]) for letter in replica.letters}
    before = {}
    for progress, snapshots in replica.state.commits:
        horizon_ms = snapshots["images"].horizon_ms
        for at in progress:
            assert 0 <= at.first_open <= at.position
            assert before.get(at.partition, (0, 0)) <= (at.first_open, at.position), "neither goes back"
            before[at.partition] = (at.first_open, at.position)
            for offset, (time_ms, _) in enumerate(logs[at.partition][: at.position]):
                if (b"%d" % at.partition, b"%d" % offset) in late:
                    continue
                # START_MS is a multiple of both sizes.
                ends_ms = [START_MS + time_ms - time_ms % size + size for size in SPEC.sizes_ms]
                if horizon_ms is None or max(ends_ms) > horizon_ms:
                    assert at.first_open <= offset


@settings(max_examples=150, deadline=None)
@given(STEPS, st.data())
def test_a_crash_after_any_commit_changes_no_windows_counts(steps, data):
    # No more disorder than is allowed, so nothing is late in either run.
    logs, batches = lay_out(steps, SPEC.disorder_ms)
    whole = Replica(PARTITIONS)
    sent = run(whole, logs, batches)
    assert whole.letters == []

    kept = data.draw(st.integers(0, len(whole.state.commits)), label="commits before the crash")
    state = RecordingState()
    state.commits = whole.state.commits[:kept]
    progress = {at.partition: at for at in state.commits[-1][0]} if kept else {}
    after = Replica(PARTITIONS, state=state)
    again = [
        (partition, progress[partition].first_open if partition in progress else 0, len(logs[partition]))
        for partition in data.draw(st.permutations(range(PARTITIONS)), label="order of reading")
    ]
    run(after, logs, again)
    assert after.letters == []
    assert final(whole.windows[: sent[kept]] + after.windows) == final(whole.windows)
    if kept < len(whole.state.commits):
        read = sum(at.position for at in progress.values())
        assert after.events("accepted") == sum(map(len, logs.values())) - read


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_every_event_is_counted_once_in_the_windows_of_each_size(steps):
    logs, batches = lay_out(steps, SPEC.disorder_ms)
    replica = Replica(PARTITIONS)
    run(replica, logs, batches)
    expected = defaultdict(lambda: [0, 0, 0, 0])
    for log in logs.values():
        for time_ms, cluster in log[:-1]:
            for size in SPEC.sizes_ms:
                expected[size, time_ms // size][cluster] += 1
    counted = sorted(final(replica.windows).values())
    assert counted == sorted(tuple(counts) for counts in expected.values())
    assert replica.events("accepted") == sum(map(len, logs.values()))
