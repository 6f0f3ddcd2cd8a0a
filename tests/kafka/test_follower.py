"""The table's reader over a real state topic, and what it makes of what it is told."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from confluent_kafka import KafkaError

from driftgauge.core.state import Change, PaneKey, Progress, ProgressKey
from driftgauge.core.table import Table
from driftgauge.core.windows.window import Window
from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.events.state import encode_key, encode_value
from driftgauge.kafka import client
from driftgauge.kafka import follower as follower_module
from driftgauge.kafka.follower import Follower
from tests.kafka.cluster import TIMEOUT_S, Cluster
from tests.kafka.parts import STATE, TOPIC, Record, SlowAdmin

COMMITTED, HIGH = {"stable": True}, {}


class Following:
    """A follower of a cluster's state with the table that it brings up to date."""

    def __init__(self, cluster, partitions=None):
        self.cluster = cluster
        self.table = Table()
        self.follower = Follower(
            client.table_consumer(cluster.properties),
            cluster.admin,
            self.table,
            {cluster.events: cluster.state},
        )
        self.follow(cluster.partitions if partitions is None else partitions)

    def follow(self, partitions):
        every = [(self.cluster.events, index) for index in range(partitions)]
        self.table.expect(every)
        self.follower.follow(every)

    def has_reached(self, ends):
        self.follower.poll()
        return self.follower.has_reached(ends)

    def catch_up(self, **which):
        """Read to where the state's partitions end now."""
        ends = self.cluster.ask(self.follower.partitions, **which)
        self.cluster.await_that(lambda: self.has_reached(ends), f"the ends {ends}")

    def positions(self):
        return {
            index: None if known is None else known.position
            for (_, index), known in ((at, self.table.progress(at)) for at in self.table.lanes("images"))
        }

    def is_current(self):
        self.follower.poll()
        return self.follower.is_current()


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


@pytest.fixture
def following(cluster):
    following = Following(cluster)
    yield following
    following.follower.close()


def progress(cluster, partition, position):
    return Change((cluster.events, partition), ProgressKey(), Progress(position, {}))


def pane(cluster, partition, number, counts):
    key = PaneKey("images", "abc", Window(1_000, number * 1_000))
    return Change(
        (cluster.events, partition), key, None if counts is None else np.array(counts, dtype=np.int64)
    )


def totals(following):
    table = following.table
    return {
        pane.start_ms // 1_000: table.tally("images", "abc", pane).tolist()
        for pane in table.all_panes("images")
    }


@pytest.mark.integration
def test_what_stood_and_what_comes_is_in_the_table_and_the_last_of_a_key_stands(cluster, following):
    cluster.write(pane(cluster, 0, 7, [1, 2]), pane(cluster, 0, 7, [3, 4]), progress(cluster, 0, 5))
    following.catch_up()
    assert totals(following) == {7: [3, 4]}
    assert following.positions() == {0: 5, 1: None}
    cluster.write(pane(cluster, 1, 7, [10, 10]), progress(cluster, 1, 2))
    following.catch_up()
    assert totals(following) == {7: [13, 14]}
    assert following.positions() == {0: 5, 1: 2}


@pytest.mark.integration
def test_a_tombstone_takes_its_key_away(cluster, following):
    cluster.write(pane(cluster, 0, 7, [1, 2]), pane(cluster, 1, 7, [1, 1]), pane(cluster, 0, 8, [5, 5]))
    following.catch_up()
    cluster.write(pane(cluster, 0, 7, None), pane(cluster, 0, 8, None))
    following.catch_up()
    assert totals(following) == {7: [1, 1]}


@pytest.mark.integration
def test_an_aborted_transaction_is_read_past_and_not_taken_in(cluster, following):
    cluster.write(progress(cluster, 0, 5))
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 0, 9))
    writer.abort_transaction(TIMEOUT_S)
    following.catch_up()
    assert following.positions()[0] == 5


@pytest.mark.integration
def test_an_open_transaction_holds_the_high_watermark_up_but_not_what_is_committed(cluster, following):
    cluster.write(progress(cluster, 0, 5))
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 0, 9))
    following.catch_up(**COMMITTED)
    ends = cluster.ask(following.follower.partitions, **HIGH)
    for _ in range(20):
        assert not following.has_reached(ends)
        following.cluster.ask(following.follower.partitions)
    assert following.positions()[0] == 5
    cluster.await_that(following.is_current, "the table to be current all the same")
    writer.commit_transaction(TIMEOUT_S)
    cluster.await_that(lambda: following.has_reached(ends), "the end of the transaction")
    assert following.positions()[0] == 9


@pytest.mark.integration
def test_an_empty_partition_is_read_at_once(cluster, following):
    following.catch_up()
    assert following.positions() == {0: None, 1: None}
    cluster.await_that(following.is_current, "the empty table to be current")


@pytest.mark.integration
def test_the_gaps_of_compaction_are_passed_over(bootstrap):
    settings = {
        "segment_ms": "100",
        "min_cleanable_dirty_ratio": "0.01",
        "max_compaction_lag_ms": "100",
        "delete_retention_ms": "0",
    }
    with Cluster(bootstrap, partitions=1, **settings) as cluster:
        written = 0

        def is_compacted():
            nonlocal written
            cluster.write(*(pane(cluster, 0, number, [written, 1]) for number in (1, 2)))
            cluster.write(pane(cluster, 0, 1, None), progress(cluster, 0, written))
            written += 1
            return written > 5 and len(cluster.read(cluster.state)) < 2 * written

        cluster.await_that(is_compacted, "compaction")
        following = Following(cluster)
        following.catch_up()
        assert totals(following) == {2: [written - 1, 1]}
        assert following.positions() == {0: written - 1}
        following.follower.close()


@pytest.mark.integration
def test_partitions_that_are_added_are_read_from_their_beginning_and_the_others_on(cluster, following):
    cluster.write(progress(cluster, 0, 5), progress(cluster, 1, 6))
    following.catch_up()
    cluster.grow(cluster.state, 3)
    cluster.write(progress(cluster, 2, 7), progress(cluster, 0, 8))
    applied = []
    following.table.apply = lambda change, apply=following.table.apply: (
        applied.append(change),
        apply(change),
    )
    following.follow(3)
    assert len(following.follower.partitions) == 3
    following.catch_up()
    assert following.positions() == {0: 8, 1: 6, 2: 7}
    assert sorted(change.partition[1] for change in applied) == [0, 2], "nothing was read twice"


@pytest.mark.integration
def test_following_the_same_partitions_again_changes_nothing(cluster, following):
    cluster.write(progress(cluster, 0, 5))
    following.catch_up()
    consumer = following.follower._consumer
    before = consumer.assignment()
    following.follow(2)
    assert consumer.assignment() == before
    following.catch_up()


@pytest.mark.integration
def test_a_table_is_current_once_it_holds_what_had_been_committed_when_it_was_asked(cluster, following):
    assert not following.follower.is_current(), "nothing has been asked for yet"
    cluster.await_that(following.is_current, "the first answer")
    cluster.write(progress(cluster, 0, 5))
    follower = following.follower
    cluster.await_that(lambda: not follower.is_current(), "a commit that has not been read to be noticed")
    cluster.await_that(following.is_current, "it to be read")
    assert following.positions()[0] == 5


@pytest.mark.integration
def test_a_state_topic_that_was_made_anew_is_noticed(cluster, following):
    cluster.write(progress(cluster, 0, 5))
    following.catch_up()
    cluster.await_that(following.is_current, "the ends to be known")
    cluster.delete(cluster.state)
    cluster.create(cluster.state, 2, cleanup_policy="compact")

    def look_on():
        for _ in range(200):
            following.is_current()
            time.sleep(0.05)

    with pytest.raises(StateError, match=rf"the state in {cluster.state}\[0\] is not the one that was read"):
        look_on()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (b"progress", b"\x01x", "a progress record with a malformed value"),
        (b"progress", b"\x63", "a progress record of version 99"),
        (b"strange", b"", "a kind that this version of driftgauge does not know"),
        (b"", b"", "a kind that this version of driftgauge does not know"),
    ],
)
def test_a_record_that_is_not_this_versions_state_is_named_by_its_place(cluster, following, key, value, why):
    cluster.write(progress(cluster, 1, 5))
    producer = client.producer(cluster.properties)
    producer.produce(cluster.state, value, key, partition=1)
    assert producer.flush(TIMEOUT_S) == 0
    with pytest.raises(StateError, match=rf"^{cluster.state}\[1\] at offset 2: .*{why}"):
        following.catch_up()


# --- over stand-ins ---


class Told:
    """A consumer that brings what a test has put in."""

    def __init__(self):
        self.messages = []

    def assign(self, partitions):
        self.assigned = partitions

    def consume(self, number, timeout_s):
        messages, self.messages = self.messages[:number], self.messages[number:]
        return messages


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def admin():
    return SlowAdmin()


@pytest.fixture
def follower(told, admin):
    follower = Follower(told, admin, Table(), {TOPIC: STATE})
    follower.follow([(TOPIC, 0)])
    return follower


def notice(code, *, fatal=False, offset=None):
    return Record(topic=STATE, partition=0, offset=offset, error=KafkaError(code, "why", fatal=fatal))


def test_without_partitions_nothing_is_read_and_nothing_is_current(told):
    follower = Follower(told, SlowAdmin(), Table(), {TOPIC: STATE})
    told.messages = [Record()]
    follower.poll()
    assert len(told.messages) == 1
    assert not follower.is_current()
    assert not follower.is_current()


@pytest.mark.parametrize(
    "code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.SASL_AUTHENTICATION_FAILED]
)
def test_what_must_not_be_read_is_the_operators_to_mend(follower, told, code):
    told.messages = [notice(code)]
    with pytest.raises(AuthorizationError, match=r"state\[0\] must not be read \(why\)"):
        follower.poll()


@pytest.mark.parametrize(
    ("code", "fatal"), [(KafkaError._STATE, True), (KafkaError.UNKNOWN_TOPIC_OR_PART, False)]
)
def test_what_the_client_cannot_go_on_from_is_a_broker_error(follower, told, code, fatal):
    told.messages = [notice(code, fatal=fatal)]
    with pytest.raises(BrokerError, match=r"reading the state in state\[0\] failed \(why\)"):
        follower.poll()


def test_any_other_notice_is_logged(follower, told, caplog):
    told.messages = [notice(KafkaError._TRANSPORT)]
    follower.poll()
    (line,) = caplog.records
    assert (line.getMessage(), line.topic, line.partition) == ("broker notice", STATE, 0)


def state(position, offset):
    value = encode_value(Progress(position, {}))
    return Record(value, topic=STATE, partition=0, offset=offset, key=encode_key(ProgressKey()))


def test_a_log_that_begins_again_is_not_the_one_that_was_read(follower, told):
    """So the client goes on where a new log does not hold its position."""
    told.messages = [state(5, offset=0), state(6, offset=4)]
    follower.poll()
    told.messages = [state(1, offset=2)]
    with pytest.raises(StateError, match=r"the state in state\[0\] is not the one that was read"):
        follower.poll()


def test_an_end_that_is_told_late_takes_nothing_back(follower, told):
    told.messages = [notice(KafkaError._PARTITION_EOF, offset=7), notice(KafkaError._PARTITION_EOF, offset=3)]
    follower.poll()
    assert follower.has_reached({(STATE, 0): 7})
    assert not follower.has_reached({(STATE, 0): 8})


def test_one_poll_takes_no_more_than_leaves_the_events_their_turn(follower, told):
    told.messages = [notice(KafkaError._PARTITION_EOF, offset=7)] * 100_000
    follower.poll()
    assert len(told.messages) == 60_000


@pytest.mark.parametrize(("after_s", "is_current"), [(1.0, True), (6.0, False)])
def test_an_answer_that_comes_late_says_nothing_of_now(
    follower, told, admin, monkeypatch, after_s, is_current
):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(follower_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    told.messages = [notice(KafkaError._PARTITION_EOF, offset=7)]
    follower.poll()
    follower.is_current()
    next(iter(admin.asked[-1].values())).set_result(SimpleNamespace(offset=7))
    clock.now_s += after_s
    assert follower.is_current() == is_current


def test_a_partition_without_an_answer_leaves_the_table_unproven(told):
    admin = SlowAdmin()
    follower = Follower(told, admin, Table(), {TOPIC: STATE})
    follower.follow([(TOPIC, 0), (TOPIC, 1)])
    told.messages = [notice(KafkaError._PARTITION_EOF, offset=7)]
    follower.poll()
    follower.is_current()
    first, second = admin.asked[-1].values()
    first.set_result(SimpleNamespace(offset=7))
    assert not follower.is_current(), "one answer is still to come"
    second.set_exception(client.KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    assert not follower.is_current()
