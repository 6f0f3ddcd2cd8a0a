"""Ownership over stand-ins for the broker: what it counts, publishes, commits, and does again."""

from collections import defaultdict

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.state import ProgressKey
from driftgauge.errors import StateError, TransactionAborted
from driftgauge.events.state import decode
from driftgauge.kafka.intake import PositionLost
from tests.kafka.parts import LETTERS, SPEC, STATE, TOPIC, Owner, Record, RecordingTransaction, event
from tests.results import plain

SECOND, FOUR = "1s", "4s"
JUNK = b"not json"
LONG_MS = 600_000


@pytest.fixture
def owner():
    return Owner()


def shown(owner, size=SECOND):
    """Return what was published of one size: (start after the first, revision, count)."""
    return [
        (window["start"][17:19], window["revision"], window["count"])
        for window in owner.windows
        if window["window"] == size
    ]


def settle(owner, *others):
    """Commit until nothing changes: what one commit brings into the table the next may act on."""
    for _ in range(10):
        before = len(owner.log.commits)
        for each in (owner, *others):
            each.follow()
            each.commit()
        if len(owner.log.commits) == before:
            return
    pytest.fail("it never comes to rest")


def test_a_window_is_published_once_the_committed_watermark_has_passed_its_end(owner):
    owner.read(event(100), event(900, cluster=1), event(1_499))
    settle(owner)
    assert shown(owner) == []
    owner.read(event(1_500))
    owner.commit()
    assert shown(owner) == [], "it is the committed state that is judged"
    owner.commit()
    assert shown(owner) == [("00", 0, 2)]
    assert [cluster["count"] for cluster in owner.windows[0]["clusters"]] == [1, 1, 0, 0]
    assert owner.value("windows_closed_total", stream="images", window=SECOND, verdict="insufficient") == 1


def test_an_event_for_a_closed_window_gives_a_higher_revision(owner):
    owner.read(event(100), event(1_600))
    settle(owner)
    owner.read(event(200))
    settle(owner)
    assert shown(owner) == [("00", 0, 1), ("00", 1, 2)]
    assert owner.value("window_revisions_total", stream="images", window=SECOND) == 1


def test_the_offset_is_what_the_state_stands_for_and_both_move_together(owner):
    for values in ([event(100), JUNK], [event(200)], [JUNK], [event(10_000)]):
        owner.read(*values)
        owner.commit()
        _, offsets = owner.log.commits[-1]
        assert offsets == {(TOPIC, 0): owner.position()}
        assert owner.kept().position == owner.position()


def test_a_partition_from_which_nothing_was_read_is_in_the_state_from_the_first_commit_on():
    owner = Owner(partitions=2)
    owner.read(event(0), partition=1)
    owner.commit()
    assert owner.log.commits[-1][1] == {(TOPIC, 0): 0, (TOPIC, 1): 1}
    assert owner.kept(0).position == 0


def test_the_progress_is_the_last_that_a_transaction_writes_of_a_partition():
    owner = Owner(partitions=3)
    for partition in range(3):
        owner.read(event(0), event(3_000), partition=partition)
    settle(owner)
    assert len(owner.log.commits) > 1
    for records, _ in owner.log.commits:
        keys = [(sent.partition, decode(sent.key, None)[0]) for sent in records if sent.topic == STATE]
        for partition in {partition for partition, _ in keys}:
            own = [key for at, key in keys if at == partition]
            assert ProgressKey() not in own[:-1]


def test_every_transaction_carries_an_offset_of_each_partition_it_writes_to_moved_or_not():
    """Without one the brokers would not ask whether the owner still is one."""
    home = Owner(partitions=2, held=[0])
    other = Owner(partitions=2, held=[1], log=home.log, clock=home.clock)
    home.read(event(100), event(1_600))
    settle(home, other)
    assert shown(home) == []
    other.read(event(100), event(1_600), partition=1)
    settle(home, other)
    assert shown(home) == [("00", 0, 2)]
    unmoved = 0
    positions = defaultdict(int)
    for records, offsets in home.log.commits:
        assert offsets.keys() == {(TOPIC, sent.partition) for sent in records if sent.topic == STATE}
        unmoved += all(positions[at] == offset for at, offset in offsets.items())
        positions.update(offsets)
    assert unmoved, "the home's owner published when it had read nothing"


def test_nothing_is_committed_again_while_nothing_changes(owner):
    owner.read(event(0))
    settle(owner)
    before = len(owner.log.commits)
    for _ in range(3):
        owner.commit()
    assert len(owner.log.commits) == before


def test_a_refused_event_is_sent_on_as_it_was_and_counted_by_reason(owner):
    owner.read(JUNK, event(0, model_version="v6"), event(0), event(LONG_MS * 100), None)
    owner.commit()
    sent = owner.log.to(LETTERS)
    assert [letter.value for letter in sent] == [
        JUNK,
        event(0, model_version="v6"),
        event(LONG_MS * 100),
        None,
    ]
    reasons = [letter["driftgauge.reason"] for letter in owner.letters]
    assert reasons == [b"undecodable", b"wrong_model", b"future", b"undecodable"]
    assert [letter["driftgauge.offset"] for letter in owner.letters] == [b"0", b"1", b"3", b"4"]
    assert owner.events("undecodable", stream="") == 2
    assert owner.events("wrong_model") == owner.events("future") == owner.events("accepted") == 1


def test_no_transaction_is_open_between_commits_and_many_dead_letters_ask_for_one_early(owner):
    owner.read(*[b"x" * 2**20] * 15)
    assert not owner.log.open
    assert not owner.ownership.is_full
    owner.read(b"x" * 2**20)
    assert owner.ownership.is_full
    owner.commit()
    assert not owner.ownership.is_full
    assert len(owner.letters) == 16


def test_a_dead_letter_is_in_the_transaction_that_reads_past_it(owner):
    owner.read(JUNK, JUNK)
    assert owner.log.to(LETTERS) == []
    owner.commit()
    ((records, offsets),) = owner.log.commits
    assert sum(sent.topic == LETTERS for sent in records) == 2
    assert offsets == {(TOPIC, 0): 2}


def test_an_event_whose_products_overflow_is_sent_on_as_not_finite(owner):
    huge = event(0).replace(b"[1.0,0.0,0.0,0.0]", b"[3e38,-3e38,3e38,3e38]")
    owner.read(huge, event(0))
    owner.commit()
    (letter,) = owner.letters
    assert letter["driftgauge.reason"] == b"non_finite"
    assert b"overflow" in letter["driftgauge.detail"]
    assert owner.events("non_finite") == owner.events("accepted") == 1


def test_an_event_that_is_late_and_overflows_as_well_is_sent_on_once(owner):
    owner.read(event(0), event(10_000))
    settle(owner)
    owner.read(event(500).replace(b"[1.0,0.0,0.0,0.0]", b"[3e38,-3e38,3e38,3e38]"))
    owner.commit()
    assert [letter["driftgauge.reason"] for letter in owner.letters] == [b"non_finite"]
    assert owner.events("late") == 0


def test_an_event_past_correction_is_late_and_counted_by_window_size(owner):
    owner.read(event(0), event(10_000))
    settle(owner)
    owner.read(event(500), event(10_100))
    owner.commit()
    (letter,) = owner.letters
    assert letter["driftgauge.reason"] == b"late"
    assert letter["driftgauge.offset"] == b"2"
    assert owner.events("late") == 1
    assert owner.events("accepted") == 3
    for window in (SECOND, FOUR):
        assert owner.value("late_events_total", stream="images", window=window) == 1


def test_an_event_that_is_late_for_the_small_window_only_is_counted_and_not_sent_on(owner):
    owner.read(event(0), event(3_600))  # horizon: 2,000
    settle(owner)
    owner.read(event(500), event(6_000))
    settle(owner)
    assert owner.letters == []
    assert owner.events("accepted") == 4
    assert owner.value("late_events_total", stream="images", window=SECOND) == 1
    assert owner.value("late_events_total", stream="images", window=FOUR) == 0
    assert shown(owner, FOUR) == [("00", 0, 3)]


def test_counters_move_with_the_commit_and_not_before(owner):
    owner.read(event(0), JUNK)
    assert owner.events("accepted") == owner.events("undecodable", stream="") == 0
    owner.commit()
    assert owner.events("accepted") == owner.events("undecodable", stream="") == 1
    settle(owner)
    assert owner.events("accepted") == 1, "and once"
    assert owner.value("commits_total", outcome="ok") == len(owner.log.commits)


def successor(owner, partitions=1):
    """Return the owner that begins from what was committed; the counters of its process are its own."""
    return Owner(partitions, log=owner.log, clock=owner.clock)


def test_what_was_not_committed_is_neither_counted_nor_reported_and_done_again_by_the_next(owner):
    owner.log.refusal = TransactionAborted("refused")
    owner.read(event(100), JUNK, event(1_600))
    with pytest.raises(TransactionAborted):
        owner.commit()
    assert owner.log.commits == []
    assert owner.events("accepted") == 0
    assert owner.value("commits_total", outcome="ok") == 0
    after = successor(owner)
    assert after.position() == 0
    after.read(event(100), JUNK, event(1_600))
    settle(after)
    assert shown(after) == [("00", 0, 1)]
    assert len(after.letters) == 1
    assert after.events("accepted") == 2


def test_whoever_follows_goes_on_where_the_last_commit_stands(owner):
    owner.read(event(100), event(200), JUNK)
    owner.commit()
    owner.read(event(300), JUNK)  # and is gone
    owner.log.open = []
    after = successor(owner)
    assert after.position() == 3
    after.read(event(300), JUNK, event(1_600))
    settle(after)
    assert shown(after) == [("00", 0, 3)]
    assert [letter["driftgauge.offset"] for letter in after.letters] == [b"2", b"4"]
    assert after.events("accepted") == 2


def test_a_published_window_is_not_published_again_by_whoever_follows(owner):
    owner.read(event(100), event(1_600))
    settle(owner)
    after = successor(owner)
    settle(after)
    assert shown(after) == [("00", 0, 1)]
    after.read(event(200))
    settle(after)
    assert shown(after) == [("00", 0, 1), ("00", 1, 2)]


def told_apart(second, cluster, number=200):
    """Events of one second in one cluster, each with a name, from two countries."""
    return [
        event(
            1_000 * second + i,
            cluster,
            event_id=f"{second}-{i}",
            segments={"country": "de" if i % 2 else "at"},
        )
        for i in range(number)
    ]


@pytest.mark.parametrize("takeovers", [{1}, {2}, {0, 1, 2, 3, 4}])
def test_a_takeover_in_the_middle_of_a_drift_changes_nothing_that_is_said(takeovers):
    undisturbed, owner = Owner(), Owner()
    for second in range(5):
        for each in (undisturbed, owner):
            each.read(*told_apart(second, cluster=3))
            settle(each)
        if second in takeovers:
            owner = successor(owner)
    assert owner.windows == undisturbed.windows
    seconds = [window for window in owner.windows if window["window"] == SECOND]
    # Within 0.2 s of the last second, and with a disorder of 0.5 s, the last but one is still open.
    assert [window["verdict"] for window in seconds] == ["warning", "drift", "drift"]
    for number, window in enumerate(seconds):
        (example,) = [each for each in window["examples"] if each["cluster"] == 3]
        assert [name.split("-")[0] for name in example["event_ids"]] == [str(number)] * 3
        counts = [(segment["value"], segment["count"]) for segment in window["segments"]]
        assert counts == [("de", 100), ("other", 100)]
    assert [segment["verdict"] for segment in seconds[1]["segments"]] == ["drift", "drift"]


def test_a_replica_that_owns_nothing_shows_what_the_owner_said(owner):
    watcher = Owner(held=[], log=owner.log, clock=owner.clock)
    for second in range(6):
        owner.read(*told_apart(second, cluster=3))
        settle(owner)
    watcher.follow()
    watcher.telemetry.show(watcher.table)
    owner.telemetry.show(owner.table)
    labels = {"stream": "images", "window": SECOND, "verdict": "drift"}
    assert watcher.value("window_verdict", **labels) == 1
    theirs = exported(watcher)
    assert theirs == exported(owner)
    assert len(theirs) > 100


def exported(owner):
    """Every sample of closed windows that a replica exports."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in owner.telemetry.registry.collect()
        if family.name.startswith("driftgauge_window_")
        for sample in family.samples
        if not sample.name.endswith("_total")
    }


def test_silence_asks_for_the_end_and_a_partition_that_is_behind_it_is_not_idle(owner):
    owner.read(event(100))
    settle(owner)
    assert owner.ends.requests[-1] == []
    owner.commit(after_ms=SPEC.idle_ms)
    assert owner.ends.requests[-1] == [(TOPIC, 0)]
    owner.ends.ends[TOPIC, 0] = 2  # one more is waiting unread
    settle(owner)
    assert shown(owner) == []
    owner.ownership.process([Record(offset=2, error=KafkaError(KafkaError._PARTITION_EOF))])
    settle(owner)
    assert shown(owner) == [("00", 0, 1)]


def test_a_partition_that_goes_back_stops_it_rather_than_being_counted_twice(owner):
    owner.read(event(100), event(200), event(300))
    with pytest.raises(
        StateError, match=r"embeddings\[0\] went back from offset 3 to 1: .* use another group.id"
    ):
        owner.read(event(200), offset=1)
    owner.commit()
    assert owner.events("accepted") == 3


def test_a_position_that_the_log_does_not_keep_is_told_and_nothing_beside_it_is_counted(owner):
    lost = Record(offset=7, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))
    with pytest.raises(PositionLost):
        owner.ownership.process([Record(event(100), stamp=(TIMESTAMP_CREATE_TIME, owner.clock())), lost])
    owner.commit()
    assert owner.events("accepted") == 0
    assert owner.kept().position == 0


def test_records_that_were_lost_mark_the_windows_and_are_counted_with_the_commit():
    owner = Owner(partitions=2)
    owner.ownership.lose({(TOPIC, 1): 7})
    owner.read(event(100), event(1_600))
    owner.read(event(100), event(1_600), partition=1)
    assert owner.value("records_lost_total", topic=TOPIC) == 0
    settle(owner)
    assert owner.value("records_lost_total", topic=TOPIC) == 7
    assert [window["events_lost"] for window in owner.windows if window["window"] == SECOND] == [True]


def test_the_end_of_a_partition_may_be_told_in_the_poll_that_brings_its_last_records(owner):
    end = Record(offset=4, error=KafkaError(KafkaError._PARTITION_EOF))
    stamp = (TIMESTAMP_CREATE_TIME, owner.clock())
    records = [Record(event(100 + place), offset=place, stamp=stamp) for place in range(2)]
    owner.ownership.process([*records, end])
    owner.commit()
    assert owner.events("accepted") == 2
    assert owner.kept().position == 4, "past what is never delivered"


def test_the_whole_state_is_written_anew_after_so_many_commits():
    owner = Owner(rewrite_commits=3)
    sizes = []
    for number in range(9):
        owner.read(event(1_000 * number + 600, event_id=str(number)))
        owner.commit()
        sizes.append(sum(sent.topic == STATE for sent in owner.log.commits[-1][0]))
    frugal = Owner()
    for number in range(9):
        frugal.read(event(1_000 * number + 600, event_id=str(number)))
        frugal.commit()
        size = sum(sent.topic == STATE for sent in frugal.log.commits[-1][0])
        assert (sizes[number] > size) == (number in {3, 6}), "at the first nothing else is there"
    last = RecordingTransaction()
    last.commits = owner.log.commits[6:]
    anew = Owner(log=last).table
    assert anew.newest().keys() == owner.table.newest().keys()
    assert {key: counts.tolist() for key, counts in anew.panes((TOPIC, 0)).items()} == {
        key: counts.tolist() for key, counts in owner.table.panes((TOPIC, 0)).items()
    }
    assert anew.examples((TOPIC, 0)) == owner.table.examples((TOPIC, 0)) != {}
    histories = owner.table.histories("images")
    assert histories.keys() == set(SPEC.sizes_ms)
    for size_ms, history in anew.histories("images").items():
        assert plain(history) == plain(histories[size_ms])


def test_positions_are_exported_of_the_partitions_whose_ends_are_known():
    class Consumer:
        def get_watermark_offsets(self, partition, *, cached):
            assert cached
            return 0, {0: 12, 1: -1001}[partition.partition]

    owner = Owner(partitions=2)
    owner.read(event(0), offset=9)
    owner.ownership.report_positions(Consumer())
    assert owner.value("consumer_position_offset", topic=TOPIC, partition="0") == 10
    assert owner.value("consumer_lag_messages", topic=TOPIC, partition="0") == 2
    assert owner.value("consumer_lag_messages", topic=TOPIC, partition="1") is None


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


def lay_out(steps):
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
            logs[partition].append((max(newest[partition] - back_ms, 0), cluster))
        batches.append((partition, start, len(logs[partition])))
    for partition in range(PARTITIONS):
        batches.append((partition, len(logs[partition]), len(logs[partition]) + 1))
        logs[partition].append((LONG_MS, 0))
    return logs, batches


def truth(logs):
    """Return the counts of each window, counted one event at a time."""
    expected = defaultdict(lambda: [0, 0, 0, 0])
    for log in logs.values():
        for time_ms, cluster in log[:-1]:
            for size in SPEC.sizes_ms:
                expected[size, time_ms // size][cluster] += 1
    return sorted(tuple(counts) for counts in expected.values())


def final(owner):
    """Return the counts last published of each window, as the topic's readers see them."""
    last = {(window["window"], window["start"]): window["clusters"] for window in owner.windows}
    return sorted(tuple(cluster["count"] for cluster in clusters) for clusters in last.values())


@settings(max_examples=100, deadline=None)
@given(STEPS, st.data())
def test_commits_that_fail_and_owners_that_are_replaced_change_no_count(steps, data):
    logs, batches = lay_out(steps)
    owner = Owner(PARTITIONS)
    read = dict.fromkeys(range(PARTITIONS), 0)
    accepted = 0
    for partition, _, end in batches:
        fate = data.draw(st.sampled_from(["stands", "stands", "aborted", "killed"]))
        while owner.position(partition) < end:
            start = owner.position(partition)
            owner.read(*(event(*at) for at in logs[partition][start:end]), partition=partition)
            if fate == "aborted":
                owner.log.refusal = TransactionAborted("refused")
                with pytest.raises(TransactionAborted):
                    owner.commit()
            elif fate == "stands":
                owner.commit()
            if fate != "stands":
                accepted += owner.events("accepted")
                owner.log.open = []
                owner = successor(owner, PARTITIONS)
                fate = "stands"
        read[partition] = end
    settle(owner)
    assert owner.letters == []
    assert final(owner) == truth(logs)
    # Each window was published once under each revision.
    published = [(window["window"], window["start"], window["revision"]) for window in owner.windows]
    assert len(published) == len(set(published))
    assert accepted + owner.events("accepted") == sum(map(len, logs.values()))


@settings(max_examples=50, deadline=None)
@given(STEPS)
def test_two_owners_count_what_one_would(steps):
    logs, batches = lay_out(steps)
    first = Owner(PARTITIONS, held=[0, 2])
    second = Owner(PARTITIONS, held=[1], log=first.log, clock=first.clock)
    for partition, start, end in batches:
        owner = second if partition == 1 else first
        owner.read(*(event(*at) for at in logs[partition][start:end]), partition=partition)
        owner.follow()
        owner.commit()
    settle(first, second)
    assert final(first) == truth(logs)
