"""The evidence of how a transaction has to end, gathered from the logs and the groups' offsets."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from driftgauge.core.partition import Partition
from driftgauge.errors import StateError
from driftgauge.kafka.hanging.client import OperatorClient
from driftgauge.kafka.hanging.decision import Decision, Evidence, decide
from driftgauge.kafka.hanging.model import Batch, Hang, Offset, Outcome
from driftgauge.kafka.hanging.survey import Topics
from driftgauge.kafka.hanging.traces import OFFSETS_TOPIC, Traces, offsets_partition, read_traces

__all__ = ["decide_all"]

# The clocks of two brokers differ by less, and so far apart are the parts of one transaction at most.
_AROUND_MS = 60_000

_OUTPUT_ALONE = Decision(
    None,
    "its records do not say which transaction they are of. Only readers of the topic wait for it: "
    "`kafka-transactions.sh abort` ends it, and at most these records are missing then",
)


def decide_all(client: OperatorClient, topics: Topics, hangs: Sequence[Hang]) -> list[Decision]:
    """Return how each of the transactions has to end, in their order."""
    internal = {topics.internal.partials, topics.internal.changelog, OFFSETS_TOPIC}
    telling: dict[int, list[Hang]] = defaultdict(list)
    for hang in hangs:
        if hang.is_abandoned and hang.transaction.partition[0] in internal:
            telling[hang.transaction.producer_id].append(hang)
    decided = {}
    for producer, of_producer in telling.items():
        try:
            decided[producer] = _decide(client, topics, of_producer)
        except StateError as error:
            decided[producer] = Decision(None, str(error))
    return [
        _left_alone(hang, topics) or decided.get(hang.transaction.producer_id, _OUTPUT_ALONE)
        for hang in hangs
    ]


def _left_alone(hang: Hang, topics: Topics) -> Decision | None:
    coordinator = hang.coordinator
    if hang.transaction.partition[0] in topics.events:
        reason = "driftgauge did not write it: its producer's owner has to say whether it is to be committed"
        return Decision(None, reason)
    if coordinator is not None and not hang.is_abandoned:
        reason = (
            f"its coordinator has it as {coordinator.state} and has still to end it: see to the coordinator,"
        )
        return Decision(None, f"node {coordinator.node}, and to the partitions of the transaction")
    return None


def _decide(client: OperatorClient, topics: Topics, hangs: Sequence[Hang]) -> Decision:
    """Return how the transaction of one producer has to end, from where it hangs in internal topics."""
    hanging, repeated = Traces(is_whole=True), set[Offset]()
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
        return Decision(None, "it moves the offsets of another group, which shares the partition")
    groups = {move.group for move in hanging.moves}
    telling = Traces(hanging.commits, hanging.moves - repeated)
    leaders = _leaders(client, topics)
    return decide(
        Evidence(
            frozenset(hanging.moves),
            hanging.is_whole,
            frozenset(_elsewhere(client, topics, leaders, hangs[0].transaction.producer_id, telling, times)),
            frozenset(at for at, leader in leaders.items() if leader < 0),
            {} if offsets else {(g, at): end for g in groups for at, end in client.committed(g).items()},
            bool(offsets),
            min(times, default=None),
            hangs[0].transaction.epoch,
            hangs[0].coordinator,
        )
    )


def _moves_before(client: OperatorClient, topics: Topics, hang: Hang, time_ms: int) -> set[Offset]:
    """Return to which ends offsets had been moved before in the partition.

    A transaction that moves an offset to where it is already does not differ by that from the one before.
    """
    at, end = hang.transaction.partition, hang.transaction.start
    start = client.offset_at(at, time_ms - 2 * _AROUND_MS)
    if start is None or start >= end:
        return set()
    before = takewhile(lambda batch: batch.first < end, client.read(at, start))
    return read_traces(at, before, topics.internal).moves


def _leaders(client: OperatorClient, topics: Topics) -> dict[Partition, int]:
    """Return the leader, -1 where there is none, of each partition that may hold how a transaction ended."""
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
    telling: Traces,
    times: Sequence[int],
) -> Iterator[tuple[Partition, Outcome]]:
    """Yield how the transaction ended, or that it is open, in each partition that has traces of it."""
    for partition, leader in sorted(leaders.items()):
        if not times or leader < 0:
            continue
        start = client.offset_at(partition, min(times) - _AROUND_MS)
        if start is None:
            continue
        log = client.read(partition, start)
        for batches, outcome in _transactions(log, producer, max(times) + _AROUND_MS):
            if read_traces(partition, batches, topics.internal).meet(telling):
                yield partition, outcome


def _transactions(
    batches: Iterator[Batch], producer: int, until_ms: int
) -> Iterator[tuple[list[Batch], Outcome]]:
    """Yield the records of each transaction of a producer, and how it ended."""
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
        yield pending, Outcome.OPEN
