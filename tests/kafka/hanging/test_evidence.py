"""Which transactions hang, and what is found out about them, on logs as they could be."""

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
class Logs:
    """A cluster whose logs a test writes, offset by offset, and whose coordinators say what it wants."""

    said: dict = field(default_factory=lambda: {P: DONE})
    offsets: dict = field(default_factory=dict)
    leaderless: set = field(default_factory=set)
    ended: list = field(default_factory=list)
    logs: dict = field(default_factory=dict)
    open: set = field(default_factory=set)

    def __post_init__(self):
        places = [EVENTS, RESULTS, LETTERS, SHARD, SIBLING, LOG]
        self.logs = {at: [] for at in [*places, *(("__consumer_offsets", index) for index in range(5))]}

    def write(self, at, *records, producer=P, time_ms=NOW_MS - 5_000, ends=None):
        """One batch of a producer, and its marker where it ends."""
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
        return {each: said for each, said in self.said.items() if each in producer_ids}

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


def test_what_its_coordinator_still_has_open_does_not_hang():
    logs = Logs()
    logs.write(SHARD, part(1, 0, 9))
    ongoing = replace(DONE, state="Ongoing", start_ms=NOW_MS - 5_000, partitions=frozenset({SHARD}))
    logs.said = {P: ongoing}
    assert logs.survey().hangs == ()
    # The coordinator has another transaction open, which does not concern this partition.
    logs.said = {P: replace(ongoing, partitions=frozenset({SIBLING}))}
    assert [hang.is_abandoned for hang in logs.survey().hangs] == [True]
    logs.said = {P: replace(ongoing, start_ms=NOW_MS - 90_001)}
    assert [hang.is_abandoned for hang in logs.survey().hangs] == [False]
    assert logs.decide() == {SHARD: None}
    (decision,) = decide_all(logs, TOPICS, logs.survey().hangs)
    assert decision.reason.startswith("its coordinator reports Ongoing and still has to end it: check the")
    assert "node 1" in decision.reason
    logs.said = {}
    assert [hang.coordinator for hang in logs.survey().hangs] == [None]


def test_transaction_that_ends_meanwhile_does_not_hang():
    logs = Logs()
    logs.write(SHARD, part(1, 0, 9))
    (hang,) = logs.survey().hangs
    assert find_again(logs, hang, NOW_MS) == hang
    opened = logs.open_transactions
    logs.coordinators = lambda _: logs.open.clear() or {P: DONE}
    assert find_again(logs, hang, NOW_MS) is None
    assert opened(SHARD) == []
    assert logs.survey().hangs == ()


def test_what_cannot_be_asked_is_named():
    logs = Logs(leaderless={SIBLING})
    del logs.logs[LOG]
    opened = logs.open_transactions

    def refuse(partition):
        if partition == RESULTS:
            message = "no"
            raise BrokerError(message)
        return opened(partition)

    logs.open_transactions = refuse
    found = logs.survey()
    assert found.unasked == {SIBLING: "it has no leader", RESULTS: "no"}
    assert found.missing == ("changelog",)
    assert found.asked == len({EVENTS, SHARD, LETTERS, OFFSETS, WINDOWS_OFFSETS})


def test_other_groups_offsets_are_not_asked_about():
    logs = Logs()
    logs.write(ASIDE, moved(9, group="another"))
    assert logs.survey().hangs == ()


def test_other_group_in_the_same_partition_is_left_alone():
    logs = Logs()
    logs.write(OFFSETS, moved(9, group="another"))
    assert logs.decide() == {OFFSETS: None}


def test_commit_is_known_by_its_number_in_other_shards():
    logs = Logs()
    for number, outcome in (
        (1, TransactionOutcome.COMMIT),
        (2, TransactionOutcome.ABORT),
        (3, TransactionOutcome.COMMIT),
    ):
        logs.write(SIBLING, part(number, 10 * number, 10 * number + 10), ends=outcome)
    logs.write(SHARD, part(2, 20, 30))
    assert logs.decide() == {SHARD: TransactionOutcome.ABORT}


def test_same_offset_by_another_producer_proves_nothing():
    """After an abort whoever counts again may come to the same end."""
    logs = Logs(said={P: replace(DONE, state="Empty")}, offsets={("watch", EVENTS): 30})
    logs.write(OFFSETS, moved(30), producer=Q, ends=TransactionOutcome.COMMIT)
    logs.write(SHARD, part(2, 20, 30))
    assert logs.decide() == {SHARD: None}


def test_offset_that_was_there_before_tells_nothing_of_the_transaction():
    """A shard that writes twice at one position: the first one's commit is not the second one's."""
    logs = Logs(said={P: replace(DONE, state="Empty")}, offsets={("watch.windows", SHARD): 9})
    logs.write(LOG, position(9), ends=TransactionOutcome.COMMIT)
    logs.write(WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD), ends=TransactionOutcome.COMMIT)
    logs.write(LOG, position(9))
    assert logs.decide() == {LOG: None}


def test_offsets_that_hang_without_moving_are_not_known_by_an_earlier_move():
    logs = Logs(said={P: replace(DONE, state="Empty")})
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    logs.write(OFFSETS, moved(9), ends=TransactionOutcome.COMMIT)
    logs.write(SIBLING, part(2, 9, 9), ends=TransactionOutcome.ABORT)
    logs.write(OFFSETS, moved(9))
    assert logs.decide() != {OFFSETS: TransactionOutcome.COMMIT}


def test_shard_that_hangs_with_its_offset_is_aborted():
    logs = Logs()
    logs.write(LOG, position(9))
    logs.write(WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD))
    assert logs.decide() == {LOG: TransactionOutcome.ABORT, WINDOWS_OFFSETS: TransactionOutcome.ABORT}


def test_nothing_is_concluded_from_what_is_absent_while_a_partition_cannot_be_read():
    logs = Logs(leaderless={SIBLING})
    logs.write(SHARD, part(1, 0, 9))
    logs.write(OFFSETS, moved(9))
    assert logs.decide() == {SHARD: None, OFFSETS: None}
    logs.leaderless.clear()
    assert logs.decide() == {SHARD: TransactionOutcome.ABORT, OFFSETS: TransactionOutcome.ABORT}


def test_what_is_known_is_decided_whatever_cannot_be_read():
    logs = Logs(leaderless={LOG})
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    logs.write(SHARD, part(1, 0, 9))
    assert logs.decide() == {SHARD: TransactionOutcome.COMMIT}


def test_offset_that_the_transaction_holds_open_is_no_evidence():
    """Read now it is the one before, whatever was decided."""
    logs = Logs(offsets={("watch", EVENTS): 0})
    logs.write(SHARD, part(1, 0, 9))
    logs.write(OFFSETS, moved(9))
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert logs.decide() == {SHARD: TransactionOutcome.COMMIT, OFFSETS: TransactionOutcome.COMMIT}


def test_transaction_that_is_still_the_coordinators_is_told_apart():
    ongoing = replace(DONE, state="PrepareCommit", start_ms=0, partitions=frozenset({SHARD}))
    logs = Logs(said={P: ongoing}, offsets={("watch", EVENTS): 9})
    logs.write(OFFSETS, moved(9), ends=TransactionOutcome.COMMIT)
    logs.write(SIBLING, part(1, 0, 9))
    logs.write(SHARD, part(2, 9, 20))
    assert logs.decide() == {SIBLING: TransactionOutcome.COMMIT, SHARD: None}


def test_records_of_others_in_between_are_not_the_transactions():
    logs = Logs(said={P: DONE, Q: replace(DONE, state="Ongoing", start_ms=NOW_MS, partitions={SHARD})})
    logs.offsets = {("watch", EVENTS): 9}
    logs.write(SHARD, part(1, 0, 9))
    logs.write(SHARD, part(2, 9, 20), producer=Q)
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert logs.decide() == {SHARD: TransactionOutcome.COMMIT}


def test_outputs_alone_are_left_alone_and_otherwise_follow():
    logs = Logs()
    logs.write(LETTERS, (None, b"letter"))
    assert logs.decide() == {LETTERS: None}
    logs.write(SHARD, part(1, 0, 9))
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert logs.decide() == {LETTERS: TransactionOutcome.COMMIT, SHARD: TransactionOutcome.COMMIT}


def test_events_are_left_alone_even_of_a_producer_of_ours():
    logs = Logs()
    logs.write(EVENTS, (None, b"event"))
    logs.write(SHARD, part(1, 0, 9))
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.COMMIT)
    assert logs.decide() == {EVENTS: None, SHARD: TransactionOutcome.COMMIT}


def test_record_that_cannot_be_read_leaves_its_transaction_alone():
    logs = Logs(said={P: DONE, Q: DONE})
    logs.write(SHARD, (None, b"\x09of a later version"))
    logs.write(LOG, position(9), producer=Q)
    logs.write(WINDOWS_OFFSETS, moved(9, "watch.windows", SHARD), producer=Q, ends=TransactionOutcome.COMMIT)
    assert logs.decide() == {SHARD: None, LOG: TransactionOutcome.COMMIT}


def test_transactions_of_two_producers_are_told_apart():
    logs = Logs(said={P: DONE, Q: DONE})
    logs.write(SHARD, part(1, 0, 9))
    logs.write(SHARD, part(2, 9, 20), producer=Q)
    logs.write(SIBLING, part(1, 0, 9), ends=TransactionOutcome.ABORT)
    logs.write(SIBLING, part(2, 9, 20), producer=Q, ends=TransactionOutcome.COMMIT)
    hangs = logs.survey().hangs
    found = {
        hang.transaction.producer_id: decision.outcome
        for hang, decision in zip(hangs, decide_all(logs, TOPICS, hangs), strict=True)
    }
    assert found == {P: TransactionOutcome.ABORT, Q: TransactionOutcome.COMMIT}


def test_search_does_not_end_before_the_marker():
    logs = Logs()
    logs.write(SHARD, part(1, 0, 9))
    logs.write(SIBLING, part(1, 0, 9))
    logs.open = {each for each in logs.open if each.partition != SIBLING}
    logs.write(SIBLING, part(7, 9, 20), producer=Q, time_ms=NOW_MS + 500_000, ends=TransactionOutcome.COMMIT)
    late = NOW_MS + 600_000
    logs.logs[SIBLING].append(Batch(9, 9, late, late, P, TransactionOutcome.ABORT, ()))
    assert logs.decide() == {SHARD: TransactionOutcome.ABORT}
