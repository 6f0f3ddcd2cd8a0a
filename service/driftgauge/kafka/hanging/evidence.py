"""Collects the evidence about hanging transactions from logs and the groups' offsets, and decides each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from driftgauge.core.partition import Partition
from driftgauge.errors import StateError
from driftgauge.kafka.hanging.client import OperatorClient
from driftgauge.kafka.hanging.decision import Decision, Evidence, decide
from driftgauge.kafka.hanging.model import Batch, Hang, OffsetMove, TransactionOutcome
from driftgauge.kafka.hanging.survey import Topics
from driftgauge.kafka.hanging.traces import OFFSETS_TOPIC, Traces, offsets_partition, read_traces

__all__ = ["decide_all"]

# Brokers' clocks differ by less, and the parts of one transaction are closer together than this.
_AROUND_MS = 60_000

_OUTPUT_ALONE = Decision(
    None,
    "its records do not identify their transaction. Only readers of the topic wait for it: "
    "`kafka-transactions.sh abort` ends it, and at most these records are lost",
)


def decide_all(client: OperatorClient, topics: Topics, hangs: Sequence[Hang]) -> list[Decision]:
    """Return the decision for each of the transactions, in their order."""
    internal = {topics.internal.partials, topics.internal.changelog, OFFSETS_TOPIC}
    by_producer: dict[int, list[Hang]] = defaultdict(list)
    for hang in hangs:
        if hang.is_abandoned and hang.transaction.partition[0] in internal:
            by_producer[hang.transaction.producer_id].append(hang)
    decisions = {}
    for producer, of_producer in by_producer.items():
        try:
            decisions[producer] = _decide(client, topics, of_producer)
        except StateError as error:
            decisions[producer] = Decision(None, str(error))
    return [
        _decide_alone(hang, topics) or decisions.get(hang.transaction.producer_id, _OUTPUT_ALONE)
        for hang in hangs
    ]


def _decide_alone(hang: Hang, topics: Topics) -> Decision | None:
    """Return the decision to leave a transaction alone that others have to end; None for all others."""
    coordinator = hang.coordinator
    if hang.transaction.partition[0] in topics.events:
        reason = "driftgauge did not write it: ask its producer's owner whether to commit or abort it"
        return Decision(None, reason)
    if coordinator is not None and not hang.is_abandoned:
        reason = (
            f"its coordinator reports {coordinator.state} and still has to end it: check the coordinator,"
        )
        return Decision(None, f"{reason} node {coordinator.node}, and the transaction's partitions")
    return None


def _decide(client: OperatorClient, topics: Topics, hangs: Sequence[Hang]) -> Decision:
    """Return the decision for one producer's transaction, which hangs in these internal partitions.

    Raises:
        StateError: A record is damaged, or has another version.
    """
    hanging, repeated = Traces(is_whole=True), set[OffsetMove]()
    times: list[int] = []
    for hang in hangs:
        at, producer = hang.transaction.partition, hang.transaction.producer_id
        batches = [
            batch
            for batch in client.read(at, hang.transaction.start)
            if batch.producer_id == producer and batch.marker is None
        ]
        found = read_traces(at, batches, topics.internal)
        hanging.commits |= found.commits
        hanging.moves |= found.moves
        hanging.is_whole &= found.is_whole
        times += [time for batch in batches for time in (batch.first_ms, batch.last_ms)]
        repeated |= _moves_before(client, topics, hang, min(times, default=0))
    offsets = [hang for hang in hangs if hang.transaction.partition[0] == OFFSETS_TOPIC]
    if len(offsets) == len(hangs) and not hanging.moves:
        reason = "it moves offsets of another group in the same partition: ask the group's owner"
        return Decision(None, reason)
    groups = {move.group for move in hanging.moves}
    distinctive = Traces(hanging.commits, hanging.moves - repeated)
    leaders = _leaders(client, topics)
    return decide(
        Evidence(
            frozenset(hanging.moves),
            hanging.is_whole,
            frozenset(
                _elsewhere(client, topics, leaders, hangs[0].transaction.producer_id, distinctive, times)
            ),
            frozenset(at for at, leader in leaders.items() if leader < 0),
            {} if offsets else {(g, at): end for g in groups for at, end in client.committed(g).items()},
            bool(offsets),
            min(times, default=None),
            hangs[0].transaction.epoch,
            hangs[0].coordinator,
        )
    )


def _moves_before(client: OperatorClient, topics: Topics, hang: Hang, time_ms: int) -> set[OffsetMove]:
    """Return the offset moves of earlier transactions in the partition.

    A move that repeats an earlier one does not identify the transaction.
    """
    at, end = hang.transaction.partition, hang.transaction.start
    start = client.offset_at(at, time_ms - 2 * _AROUND_MS)
    if start is None or start >= end:
        return set()
    before = takewhile(lambda batch: batch.first < end, client.read(at, start))
    return read_traces(at, before, topics.internal).moves


def _leaders(client: OperatorClient, topics: Topics) -> dict[Partition, int]:
    """Return the leader, -1 for none, of each partition that may show the outcome of a transaction."""
    internal = topics.internal
    leaders = client.partitions([internal.partials, internal.changelog, OFFSETS_TOPIC])
    count = sum(topic == OFFSETS_TOPIC for topic, _ in leaders)
    of_groups = {offsets_partition(group, count) for group in (internal.group, internal.windows_group)}
    return {at: leader for at, leader in leaders.items() if at[0] != OFFSETS_TOPIC or at in of_groups}


def _elsewhere(
    client: OperatorClient,
    topics: Topics,
    leaders: Mapping[Partition, int],
    producer: int,
    distinctive: Traces,
    times: Sequence[int],
) -> Iterator[tuple[Partition, TransactionOutcome]]:
    """Yield the transaction's outcome, or OPEN, in each partition that has traces of it."""
    for partition, leader in sorted(leaders.items()):
        if not times or leader < 0:
            continue
        start = client.offset_at(partition, min(times) - _AROUND_MS)
        if start is None:
            continue
        log = client.read(partition, start)
        for batches, outcome in _transactions(log, producer, max(times) + _AROUND_MS):
            if read_traces(partition, batches, topics.internal).matches(distinctive):
                yield partition, outcome


def _transactions(
    batches: Iterator[Batch], producer: int, until_ms: int
) -> Iterator[tuple[list[Batch], TransactionOutcome]]:
    """Yield the record batches and the outcome of each transaction of a producer."""
    pending: list[Batch] = []
    for batch in batches:
        if batch.producer_id == producer and batch.marker is None:
            pending.append(batch)
        elif batch.producer_id == producer and batch.marker is not None and pending:
            yield pending, batch.marker
            pending = []
        elif not pending and batch.first_ms > until_ms:
            return
    if pending:
        yield pending, TransactionOutcome.OPEN
