"""The barrier on a real broker: what it waits for, and from where it lets each partition be read on."""

import time
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.core.state import Change, FinalKey, Progress, ProgressKey, StreamProgress
from driftgauge.core.table import Table
from driftgauge.errors import AuthorizationError
from driftgauge.kafka import client
from driftgauge.kafka import restore as restore_module
from driftgauge.kafka.follower import Follower
from driftgauge.kafka.restore import Restore, Restored
from tests.kafka.cluster import TIMEOUT_S, Cluster
from tests.kafka.parts import STATE, TOPIC, SlowAdmin

# Steps are taken in vain for so long before a restore counts as one that waits.
PATIENCE_S = 1.5


class Barrier:
    """A replica's way through the barrier, without the replica."""

    def __init__(self, cluster, partitions=(0, 1)):
        self.cluster = cluster
        self.table = Table()
        self.consumer = client.consumer(cluster.properties)
        self.follower = Follower(
            client.table_consumer(cluster.properties),
            cluster.admin,
            self.table,
            {cluster.events: cluster.state},
        )
        self.follower.follow([(cluster.events, index) for index in range(cluster.partitions)])
        self.begin(partitions)

    def begin(self, partitions, streams=()):
        assigned = [(self.cluster.events, index) for index in partitions]
        self.restore = Restore(
            assigned,
            self.consumer,
            self.cluster.admin,
            self.follower,
            self.table,
            list(streams),
            time.monotonic(),
        )

    def step(self):
        self.follower.poll()
        return self.restore.step()

    def pass_(self):
        """Return what came of it, by the partitions' indexes."""
        found = []
        self.cluster.await_that(
            lambda: (restored := self.step()) is not None and not found.append(restored), "the barrier"
        )
        (restored,) = found
        return Restored(
            *(
                {index: value for (_, index), value in part.items()}
                for part in (restored.positions, restored.lost, restored.stopped)
            )
        )

    def assert_waits_for(self, what):
        """It is not passed, and knows why."""
        self.cluster.await_that(
            lambda: self.step() is None and what in self.restore._waiting_for, f"it to wait for {what}"
        )
        since_s = self.restore.waited_s
        while self.restore.waited_s - since_s < PATIENCE_S:
            assert self.step() is None
            # Time for the broker, in which the reader comes as far as it can.
            self.cluster.ask([(self.cluster.state, 0)])
        assert what in self.restore._waiting_for

    def close(self):
        self.consumer.close()
        self.follower.close()


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        cluster.publish(*(b"event" for _ in range(10)), partition=0)
        cluster.publish(*(b"event" for _ in range(10)), partition=1)
        yield cluster


@pytest.fixture
def barrier(cluster):
    barrier = Barrier(cluster)
    yield barrier
    barrier.close()


def progress(cluster, partition, position):
    return Change((cluster.events, partition), ProgressKey(), Progress(position, {}))


@pytest.mark.integration
def test_where_nothing_was_ever_committed_reading_begins_with_what_the_log_keeps(cluster, barrier):
    cluster.forget(1, before=4)
    assert barrier.pass_() == Restored({0: 0, 1: 4})


@pytest.mark.integration
def test_where_state_and_offset_agree_reading_goes_on_there(cluster, barrier):
    cluster.write(progress(cluster, 0, 3), progress(cluster, 1, 10))
    cluster.commit({0: 3, 1: 10})
    assert barrier.pass_() == Restored({0: 3, 1: 10})


@pytest.mark.integration
def test_the_state_of_one_partition_and_none_of_another(cluster, barrier):
    cluster.write(progress(cluster, 1, 10))
    cluster.commit({1: 10})
    assert barrier.pass_() == Restored({0: 0, 1: 10})


@pytest.mark.integration
def test_only_what_is_assigned_is_restored_and_of_all_the_state_is_read(cluster, barrier):
    cluster.write(progress(cluster, 0, 3), progress(cluster, 1, 10))
    cluster.commit({0: 3, 1: 10})
    barrier.begin([1])
    assert barrier.pass_() == Restored({1: 10})
    assert barrier.table.progress((cluster.events, 0)).position == 3


@pytest.mark.integration
def test_nothing_assigned_is_nothing_to_wait_for(barrier):
    barrier.begin([])
    assert barrier.restore.step() == Restored()


@pytest.mark.integration
def test_where_the_offset_has_expired_the_state_stands(cluster, barrier):
    cluster.write(progress(cluster, 0, 3), progress(cluster, 1, 4))
    cluster.commit({1: 4})
    assert barrier.pass_() == Restored({0: 3, 1: 4})


@pytest.mark.integration
def test_an_offset_without_state_stops_its_partition_and_no_other(cluster, barrier):
    cluster.write(progress(cluster, 1, 4))
    cluster.commit({0: 3, 1: 4})
    restored = barrier.pass_()
    assert restored.positions == {1: 4}
    (reason,) = restored.stopped.values()
    assert restored.stopped == {0: reason}
    assert "counted up to offset None, and the group has committed 3" in reason


@pytest.mark.integration
@pytest.mark.parametrize("offset", [2, 4])
def test_an_offset_that_is_not_the_states_stops_its_partition(cluster, barrier, offset):
    cluster.write(progress(cluster, 0, 3))
    cluster.commit({0: offset})
    restored = barrier.pass_()
    assert restored.positions == {1: 0}
    assert f"counted up to offset 3, and the group has committed {offset}" in restored.stopped[0]


@pytest.mark.integration
def test_a_log_that_begins_later_has_lost_what_was_to_be_read(cluster, barrier):
    cluster.write(progress(cluster, 0, 3), progress(cluster, 1, 4))
    cluster.commit({0: 3, 1: 4})
    cluster.forget(0, before=8)
    cluster.forget(1, before=4)
    assert barrier.pass_() == Restored({0: 8, 1: 4}, lost={0: 5})


@pytest.mark.integration
def test_a_log_that_ends_earlier_is_not_the_one_that_was_counted(cluster, barrier):
    cluster.write(progress(cluster, 0, 11), progress(cluster, 1, 10))
    restored = barrier.pass_()
    assert restored.positions == {1: 10}
    assert "its log ends at offset 10, and it has been counted up to 11" in restored.stopped[0]


@pytest.mark.integration
@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_an_open_transaction_that_holds_the_offsets_is_waited_for(cluster, barrier, ending):
    """Its owner, were it only paused, could still commit when it wakes."""
    cluster.write(progress(cluster, 0, 3))
    cluster.commit({0: 3})
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 0, 9))
    with cluster.stranger() as owner:
        writer.send_offsets_to_transaction(cluster.at({0: 9}), owner.consumer_group_metadata(), TIMEOUT_S)
    barrier.assert_waits_for("the group's committed offsets")
    if ending == "commit":
        writer.commit_transaction(TIMEOUT_S)
        assert barrier.pass_() == Restored({0: 9, 1: 0})
    else:
        writer.abort_transaction(TIMEOUT_S)
        assert barrier.pass_() == Restored({0: 3, 1: 0})


@pytest.mark.integration
@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_the_state_is_read_to_its_high_watermark_and_not_only_to_what_is_stable(cluster, barrier, ending):
    """The group's offsets are free, and yet a transaction that is open may hold the state."""
    cluster.write(progress(cluster, 0, 3))
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 0, 9))
    barrier.assert_waits_for("the table to be read to the state's ends")
    assert barrier.table.progress((cluster.events, 0)).position == 3, "it has come to the stable end"
    if ending == "commit":
        writer.commit_transaction(TIMEOUT_S)
        assert barrier.pass_() == Restored({0: 9, 1: 0})
    else:
        writer.abort_transaction(TIMEOUT_S)
        assert barrier.pass_() == Restored({0: 3, 1: 0})


@pytest.mark.integration
def test_what_others_have_open_is_not_waited_for(cluster, barrier):
    cluster.write(progress(cluster, 0, 3), progress(cluster, 1, 4))
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 1, 9))
    barrier.begin([0])
    assert barrier.pass_() == Restored({0: 3})
    assert barrier.table.progress((cluster.events, 1)).position == 4, "but what they have committed is known"
    writer.abort_transaction(TIMEOUT_S)


@pytest.mark.integration
@pytest.mark.parametrize("known", [{}, {"images": StreamProgress(newest_ms=5)}])
def test_where_something_is_new_others_are_waited_for_lest_it_count_what_they_make_final(
    cluster, barrier, known
):
    """A partition that was added, or a stream that was never counted on one."""
    other = Change((cluster.events, 1), FinalKey("images"), 1_000)
    cluster.write(Change((cluster.events, 0), ProgressKey(), Progress(3, known)), progress(cluster, 1, 4))
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, other)
    barrier.begin([0], ["images"])
    if known:
        assert barrier.pass_() == Restored({0: 3})
        writer.abort_transaction(TIMEOUT_S)
    else:
        barrier.assert_waits_for("the table to be read to the state's ends")
        writer.commit_transaction(TIMEOUT_S)
        assert barrier.pass_() == Restored({0: 3})
        assert barrier.table.final_ms("images") == 1_000


@pytest.mark.integration
def test_what_is_committed_after_the_assignment_and_before_the_barrier_is_passed_counts(cluster, barrier):
    cluster.write(progress(cluster, 0, 3))
    cluster.commit({0: 3})
    writer = cluster.writer()
    writer.begin_transaction()
    cluster.keep(writer, progress(cluster, 0, 5))
    with cluster.stranger() as owner:
        writer.send_offsets_to_transaction(cluster.at({0: 5}), owner.consumer_group_metadata(), TIMEOUT_S)
    barrier.assert_waits_for("the group's committed offsets")
    # Another assignment on the way: what was begun is dropped.
    barrier.begin([0])
    barrier.assert_waits_for("the group's committed offsets")
    writer.commit_transaction(TIMEOUT_S)
    assert barrier.pass_() == Restored({0: 5})


@pytest.mark.integration
def test_no_step_holds_the_loop_up_for_long(cluster, barrier):
    writer = cluster.writer()
    writer.begin_transaction()
    with cluster.stranger() as owner:
        writer.send_offsets_to_transaction(cluster.at({0: 9}), owner.consumer_group_metadata(), TIMEOUT_S)
    waited_s = barrier.restore.waited_s
    for _ in range(3):
        assert barrier.step() is None
        waited_s, before_s = barrier.restore.waited_s, waited_s
        assert waited_s - before_s < 2.0
    writer.abort_transaction(TIMEOUT_S)


# --- over stand-ins ---


class Group:
    """A consumer whose group answers with what a test has put in, an error or offsets."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def committed(self, asked, timeout):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [SimpleNamespace(topic=at.topic, partition=at.partition, **answer) for at in asked]


class Follows:
    partitions = ((STATE, 0),)

    def state_of(self, partition):
        return STATE, partition[1]

    def has_reached(self, ends):
        self.ends = ends
        return True


def build(group, admin=None):
    return Restore(
        [(TOPIC, 0)], group, admin or SlowAdmin(), Follows(), Table(), [], restore_module.time.monotonic()
    )


def failure(code):
    return KafkaException(KafkaError(code, "why"))


@pytest.mark.parametrize("error", [failure(KafkaError.GROUP_AUTHORIZATION_FAILED), None])
def test_offsets_that_must_not_be_read_are_the_operators_to_mend(error):
    refused = {"offset": -1001, "error": KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "why")}
    with pytest.raises(AuthorizationError, match="group's offsets must not be read"):
        build(Group(error or refused)).step()


def test_a_coordinator_that_has_no_answer_yet_is_asked_again():
    admin = SlowAdmin()
    codes = (KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    unknown = {"offset": -1001, "error": KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "why")}
    restore = build(Group(*map(failure, codes), unknown, {"offset": 5, "error": None}), admin)
    for _ in range(4):
        assert restore.step() is None
        assert restore._waiting_for == "the group's committed offsets (why)"
    assert admin.asked == [], "the state's ends are asked for after the offsets are known"
    assert restore.step() is None
    assert len(admin.asked) == 1


def test_an_end_that_is_not_to_be_had_is_asked_for_again_and_not_at_every_step(monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(restore_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    admin = SlowAdmin()
    restore = build(Group({"offset": -1001, "error": None}), admin)
    restore.step()
    admin.asked[-1][TopicPartition(STATE, 0)].set_exception(failure(KafkaError.LEADER_NOT_AVAILABLE))
    for _ in range(10):
        assert restore.step() is None
    assert len(admin.asked) == 1
    clock.now_s += 1.0
    assert restore.step() is None
    assert len(admin.asked) == 2


def test_who_waits_for_long_says_what_for_every_ten_seconds(monkeypatch, caplog):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(restore_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    restore = build(Group(failure(KafkaError._TIMED_OUT)))
    for _ in range(25):
        restore.step()
        clock.now_s += 1.0
    assert restore.waited_s == 25.0
    lines = [(line.getMessage(), line.waited_s, line.waiting_for) for line in caplog.records]
    what = "the group's committed offsets (why)"
    assert lines == [("restore is waiting", 10.0, what), ("restore is waiting", 20.0, what)]
