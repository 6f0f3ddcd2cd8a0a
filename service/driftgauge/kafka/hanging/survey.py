"""Which transactions hang in the topics of the service."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.errors import BrokerError
from driftgauge.kafka.hanging.client import OperatorClient
from driftgauge.kafka.hanging.model import Hang, OpenTransaction
from driftgauge.kafka.hanging.traces import OFFSETS_TOPIC, InternalTopics, offsets_partition

__all__ = ["Survey", "Topics", "find_again", "survey"]


@dataclass(frozen=True, slots=True)
class Topics:
    """Where to look.

    Attributes:
        events: Written by others, to be read.
        outputs: Results and dead letters.
        internal: The topics between and behind the two stages.
    """

    events: tuple[str, ...]
    outputs: tuple[str, ...]
    internal: InternalTopics

    @classmethod
    def of(cls, settings: Settings) -> "Topics":
        """Return the topics of a configuration."""
        return cls(
            settings.topics.events,
            (settings.topics.windows, settings.topics.dead_letters),
            InternalTopics(
                settings.partials_topic, settings.changelog_topic, settings.group, settings.windows_group
            ),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, without the groups' offsets."""
        return (*self.events, self.internal.partials, self.internal.changelog, *self.outputs)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        hangs: The transactions that are open too long, in the order of their partitions.
        asked: How many partitions were asked.
        missing: Topics that do not exist.
        unasked: Partitions that could not be asked, with the reason.
    """

    hangs: tuple[Hang, ...]
    asked: int
    missing: tuple[str, ...]
    unasked: Mapping[Partition, str]


def survey(client: OperatorClient, topics: Topics, now_ms: int) -> Survey:
    """Return which transactions hang in the service's topics and in its groups' offsets."""
    leaders = client.partitions([*topics.names, OFFSETS_TOPIC])
    of_groups = _offsets_partitions(topics.internal, leaders)
    wanted = sorted(at for at in leaders if at[0] != OFFSETS_TOPIC or at in of_groups)
    unasked = {at: "it has no leader" for at in wanted if leaders[at] < 0}
    opened: list[OpenTransaction] = []
    for partition in wanted:
        if partition not in unasked:
            try:
                opened += client.open_transactions(partition)
            except BrokerError as error:
                unasked[partition] = str(error)
    return Survey(
        tuple(_hanging(client, sorted(opened), now_ms)),
        len(wanted) - len(unasked),
        tuple(name for name in dict.fromkeys(topics.names) if name not in {topic for topic, _ in leaders}),
        unasked,
    )


def find_again(client: OperatorClient, hang: Hang, now_ms: int) -> Hang | None:
    """Return a transaction as it hangs now; None where it has ended, or its producer has gone on."""
    opened = [each for each in client.open_transactions(hang.transaction.partition) if _is_same(each, hang)]
    return next(_hanging(client, opened, now_ms), None)


def _hanging(client: OperatorClient, opened: Sequence[OpenTransaction], now_ms: int) -> Iterator[Hang]:
    coordinators = client.coordinators({each.producer_id for each in opened}) if opened else {}
    for transaction in opened:
        hang = Hang(transaction, coordinators.get(transaction.producer_id))
        hangs = hang.is_abandoned or hang.is_overdue(now_ms)
        # What was open before its coordinator was asked, and is open after, was open when it answered.
        if hangs and any(_is_same(each, hang) for each in client.open_transactions(transaction.partition)):
            yield hang


def _is_same(transaction: OpenTransaction, hang: Hang) -> bool:
    known = hang.transaction
    return (transaction.producer_id, transaction.start) == (known.producer_id, known.start)


def _offsets_partitions(internal: InternalTopics, leaders: Collection[Partition]) -> set[Partition]:
    count = sum(topic == OFFSETS_TOPIC for topic, _ in leaders)
    groups = (internal.group, internal.windows_group)
    return {offsets_partition(group, count) for group in groups} if count else set()
