"""The survey of hanging transactions and the evidence about them, on fake logs."""

from dataclasses import dataclass, field, replace

from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.windows.changelog import PositionKey, ShardPosition
from driftgauge.errors import BrokerError
from driftgauge.kafka.hanging.evidence import decide_all
from driftgauge.kafka.hanging.model import Batch, Coordinator, OpenTransaction, TransactionOutcome
from driftgauge.kafka.hanging.survey import Topics, find_again, survey
from driftgauge.kafka.hanging.traces import StageTopics, offsets_partition
from driftgauge.records import changelog
from driftgauge.records.partials import encode_commit
from tests.kafka.hanging.test_traces import offset_record

TOPICS = Topics(
    ("embeddings",), ("results", "letters"), StageTopics("partials", "changelog", "watch", "watch.windows")
)
EVENTS, RESULTS, LETTERS = ("embeddings", 0), ("results", 0), ("letters", 0)
SHARD, SIBLING, LOG = ("partials", 0), ("partials", 1), ("changelog", 0)
OFFSETS, WINDOWS_OFFSETS = offsets_partition("watch", 5), offsets_partition("watch.windows", 5)
ASIDE = next(("__consumer_offsets", i) for i in range(5) if i not in {OFFSETS[1], WINDOWS_OFFSETS[1]})
P, Q = 7, 8
NOW_MS = 10_000_000
DONE = Coordinator(1, "count-1", "CompleteCommit", 0, 30_000, -1, frozenset())


@dataclass
class FakeCluster:
    """A fake cluster: a test writes its logs, the groups' offsets and the coordinators' states."""

    coordinator_states: dict = field(default_factory=lambda: {P: DONE})
    offsets: dict = field(default_factory=dict)
    leaderless: set = field(default_factory=set)
    logs: dict = field(default_factory=dict)
    open: set = field(default_factory=set)

    def __post_init__(self):
        partitions = [EVENTS, RESULTS, LETTERS, SHARD, SIBLING, LOG]
        self.logs = {at: [] for at in [*partitions, *(("__consumer_offsets", index) for index in range(5))]}

    def write(self, at, *records, producer=P, time_ms=NOW_MS - 5_000, ends=None):
        """Append a batch of a producer, and its marker if `ends` is given."""
        log = self.logs[at]
        first = log[-1].last + 1 if log else 0
        log.append(Batch(first, first + len(records) - 1, time_ms, time_ms, producer, None, records))
        if ends is not None:
            log.append(
                Batch(first + len(records), first + len(records), time_ms, time_ms, producer, ends, ())
            )
        else:
            self.open.add(OpenTransaction(at, producer, 0, 0, first, time_ms))

    def partitions(self, topics):
        return {at: -1 if at in self.leaderless else 1 for at in self.logs if at[0] in topics}

    def open_transactions(self, partition):
        return [each for each in self.open if each.partition == partition]

    def coordinators(self, producer_ids):
        return {
            producer_id: state
            for producer_id, state in self.coordinator_states.items()
            if producer_id in producer_ids
        }

    def committed(self, group):
        return {at: end for (of, at), end in self.offsets.items() if of == group}

    def offset_at(self, partition, time_ms):
        return next((batch.first for batch in self.logs[partition] if batch.last_ms >= time_ms), None)

    def read(self, partition, start):
        return (batch for batch in self.logs[partition] if batch.last >= start)

    def survey(self):
        return survey(self, TOPICS, NOW_MS)

    def decide(self):
        hangs = self.survey().hangs
        return {
            hang.transaction.partition: decision.outcome
            for hang, decision in zip(hangs, decide_all(self, TOPICS, hangs), strict=True)
        }


def part(number, start, end):
    source = PartitionProgress(EVENTS, "", 1, start, end, False, 0, 0, None)
    (value,) = encode_commit(CommitId("count-1", 0, number), 2, (), (), (source,), 1_000_000)
    return None, value


def moved(end, group="watch", at=EVENTS):
    topic, partition = at
    return offset_record(group, topic, partition, end)


def position(offset):
    return changelog.encode_key(PositionKey()), changelog.encode_value(ShardPosition(2, offset, 0, "w"))


def test_transaction_open_at_its_coordinator_does_not_hang():
    cluster = FakeCluster()
    cluster.write(SHARD, part(1, 0, 9))
    ongoing = replace(DONE, state="Ongoing", start_ms=NOW_MS - 5_000, partitions=frozenset({SHARD}))
    cluster.coordinator_states = {P: ongoing}
    assert cluster.survey().hangs == ()
    # The coordinator's open transaction does not include this partition.
    cluster.coordinator_states = {P: replace(ongoing, partitions=frozenset({SIBLING}))}
    assert [hang.is_abandoned for hang in cluster.survey().hangs] == [True]
    cluster.coordinator_states = {P: replace(ongoing, start_ms=NOW_MS - 90_001)}
    assert [hang.is_abandoned for hang in cluster.survey().hangs] == [False]
    assert cluster.decide() == {SHARD: None}
    (decision,) = decide_all(cluster, TOPICS, cluster.survey().hangs)
    assert decision.reason.startswith("its coordinator reports Ongoing and still has to end it: check the")
    assert "node 1" in decision.reason
    cluster.coordinator_states = {}
    assert [hang.coordinator for hang in cluster.survey().hangs] == [None]


def test_transaction_that_ends_during_survey_does_not_hang():
    cluster = FakeCluster()
    cluster.write(SHARD, part(1, 0, 9))
    (hang,) = cluster.survey().hangs
    assert find_again(cluster, hang, NOW_MS) == hang
    opened = cluster.open_transactions
    cluster.coordinators = lambda _: cluster.open.clear() or {P: DONE}
    assert find_again(cluster, hang, NOW_MS) is None
    assert opened(SHARD) == []
    assert cluster.survey().hangs == ()


def test_survey_names_unasked_partitions_and_missing_topics():
    cluster = FakeCluster(leaderless={SIBLING})
    del cluster.logs[LOG]
    opened = cluster.open_transactions

    def refuse(partition):
        if partition == RESULTS:
            message = "no"
            raise BrokerError(message)
        return opened(partition)

    cluster.open_transactions = refuse
    found = cluster.survey()
    assert found.unasked == {SIBLING: "it has no leader", RESULTS: "no"}
    assert found.missing == ("changelog",)
    assert found.asked == len({EVENTS, SHARD, LETTERS, OFFSETS, WINDOWS_OFFSETS})


def test_survey_skips_offsets_of_other_groups():
    cluster = FakeCluster()
    cluster.write(ASIDE, moved(9, group="another"))
    assert cluster.survey().hangs == ()


def test_offsets_of_other_group_in_same_partition_are_left_alone():
    cluster = FakeCluster()
    cluster.write(OFFSETS, moved(9, group="another"))
    assert cluster.decide() == {OFFSETS: None}


def test_commit_number_identifies_commit_in_other_shards():
    cluster = FakeCluster()
    for number, outcome in (
        (1, TransactionOutcome.COMMIT),
        (2, TransactionOutcome.ABORT),
        (3, TransactionOutcome.COMMIT),
    ):
        cluster.write(SIBLING, part(number, 10 * number, 10 * number + 10), ends=outcome)
    cluster.write(SHARD, part(2, 20, 30))
    assert cluster.decide() == {SHARD: TransactionOutcome.ABORT}


def test_same_offset_by_another_producer_decides_nothing():
    """A replica that counts again after an abort may commit the same offset."""
    cluster = FakeCluster(
        coordinator_states={P: replace(DONE, state="Empty")}, offsets={("watch", EVENTS): 30}
    )
    cluster.write(OFFSETS, moved(30), producer=Q, ends=TransactionOutcome.COMMIT)
    cluster.write(SHARD, part(2, 20, 30))
    assert cluster.decide() == {SHARD: None}


def test_repeated_offset_decides_nothing():
    """A shard may write twice at one position; the first commit does not decide the second."""
    cluster = FakeCluster(
        coordinator_states={P: replace(DONE, state="Empty")}, offsets={("watch.windows", SHARD): 9}
    )
    cluster.write(LOG, position(9), ends=TransactionOutcome.COMMIT)
    cluster.write(WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD), ends=TransactionOutcome.COMMIT)
    cluster.write(LOG, position(9))
    assert cluster.decide() == {LOG: None}


def test_unmoved_offsets_do_not_match_earlier_move():
    cluster = FakeCluster(coordinator_states={P: replace(DONE, state="Empty")})
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    cluster.write(OFFSETS, moved(9), ends=TransactionOutcome.COMMIT)
    cluster.write(SIBLING, part(2, 9, 9), ends=TransactionOutcome.ABORT)
    cluster.write(OFFSETS, moved(9))
    assert cluster.decide() != {OFFSETS: TransactionOutcome.COMMIT}


def test_shard_hanging_with_its_offset_is_aborted():
    cluster = FakeCluster()
    cluster.write(LOG, position(9))
    cluster.write(WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD))
    assert cluster.decide() == {LOG: TransactionOutcome.ABORT, WINDOWS_OFFSETS: TransactionOutcome.ABORT}


def test_absence_decides_nothing_while_partition_is_unread():
    cluster = FakeCluster(leaderless={SIBLING})
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(OFFSETS, moved(9))
    assert cluster.decide() == {SHARD: None, OFFSETS: None}
    cluster.leaderless.clear()
    assert cluster.decide() == {SHARD: TransactionOutcome.ABORT, OFFSETS: TransactionOutcome.ABORT}


def test_outcome_elsewhere_decides_despite_unread_partition():
    cluster = FakeCluster(leaderless={LOG})
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    cluster.write(SHARD, part(1, 0, 9))
    assert cluster.decide() == {SHARD: TransactionOutcome.COMMIT}


def test_offset_held_open_by_transaction_decides_nothing():
    """Until the transaction ends the group shows the earlier offset, whatever the outcome."""
    cluster = FakeCluster(offsets={("watch", EVENTS): 0})
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(OFFSETS, moved(9))
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert cluster.decide() == {SHARD: TransactionOutcome.COMMIT, OFFSETS: TransactionOutcome.COMMIT}


def test_producers_other_transaction_is_left_to_coordinator():
    ongoing = replace(DONE, state="PrepareCommit", start_ms=0, partitions=frozenset({SHARD}))
    cluster = FakeCluster(coordinator_states={P: ongoing}, offsets={("watch", EVENTS): 9})
    cluster.write(OFFSETS, moved(9), ends=TransactionOutcome.COMMIT)
    cluster.write(SIBLING, part(1, 0, 9))
    cluster.write(SHARD, part(2, 9, 20))
    assert cluster.decide() == {SIBLING: TransactionOutcome.COMMIT, SHARD: None}


def test_records_of_other_producers_are_ignored():
    cluster = FakeCluster(
        coordinator_states={P: DONE, Q: replace(DONE, state="Ongoing", start_ms=NOW_MS, partitions={SHARD})}
    )
    cluster.offsets = {("watch", EVENTS): 9}
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(SHARD, part(2, 9, 20), producer=Q)
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert cluster.decide() == {SHARD: TransactionOutcome.COMMIT}


def test_outputs_follow_internal_topics_or_are_left_alone():
    cluster = FakeCluster()
    cluster.write(LETTERS, (None, b"letter"))
    assert cluster.decide() == {LETTERS: None}
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert cluster.decide() == {LETTERS: TransactionOutcome.COMMIT, SHARD: TransactionOutcome.COMMIT}


def test_events_of_own_producer_are_left_alone():
    cluster = FakeCluster()
    cluster.write(EVENTS, (None, b"event"))
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert cluster.decide() == {EVENTS: None, SHARD: TransactionOutcome.COMMIT}


def test_undecodable_record_leaves_its_transaction_alone():
    cluster = FakeCluster(coordinator_states={P: DONE, Q: DONE})
    cluster.write(SHARD, (None, b"\x09of a later version"))
    cluster.write(LOG, position(9), producer=Q)
    cluster.write(
        WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD), producer=Q, ends=TransactionOutcome.COMMIT
    )
    assert cluster.decide() == {SHARD: None, LOG: TransactionOutcome.COMMIT}


def test_transactions_of_two_producers_are_decided_separately():
    cluster = FakeCluster(coordinator_states={P: DONE, Q: DONE})
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(SHARD, part(2, 9, 20), producer=Q)
    cluster.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.ABORT)
    cluster.write(SIBLING, part(2, 9, 20), producer=Q, ends=TransactionOutcome.COMMIT)
    hangs = cluster.survey().hangs
    found = {
        hang.transaction.producer_id: decision.outcome
        for hang, decision in zip(hangs, decide_all(cluster, TOPICS, hangs), strict=True)
    }
    assert found == {P: TransactionOutcome.ABORT, Q: TransactionOutcome.COMMIT}


def test_search_continues_to_marker():
    cluster = FakeCluster()
    cluster.write(SHARD, part(1, 0, 9))
    cluster.write(SIBLING, part(1, 0, 9))
    cluster.open = {each for each in cluster.open if each.partition != SIBLING}
    cluster.write(
        SIBLING, part(7, 9, 20), producer=Q, time_ms=NOW_MS + 500_000, ends=TransactionOutcome.COMMIT
    )
    late = NOW_MS + 600_000
    cluster.logs[SIBLING].append(Batch(9, 9, late, late, P, TransactionOutcome.ABORT, ()))
    assert cluster.decide() == {SHARD: TransactionOutcome.ABORT}
