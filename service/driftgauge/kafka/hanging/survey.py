"""The survey of hanging transactions in the service's topics and its groups' offsets."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.errors import BrokerError
from driftgauge.kafka.hanging.client import OperatorClient
from driftgauge.kafka.hanging.model import Hang, OpenTransaction
from driftgauge.kafka.hanging.traces import OFFSETS_TOPIC, StageTopics, offsets_partition

__all__ = ["Survey", "Topics", "find_again", "survey"]


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a configuration.

    Attributes:
        events: The events topics, which other producers write.
        outputs: The topics of results and dead letters.
        internal: The internal topics and the groups of the two stages.
    """

    events: tuple[str, ...]
    outputs: tuple[str, ...]
    internal: StageTopics

    @classmethod
    def of(cls, settings: Settings) -> "Topics":
        """Return the topics of a configuration."""
        return cls(
            settings.topics.events,
            (settings.topics.windows, settings.topics.dead_letters),
            StageTopics(
                settings.partials_topic, settings.changelog_topic, settings.group, settings.windows_group
            ),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All topics, without the topic of groups' offsets."""
        return (*self.events, self.internal.partials, self.internal.changelog, *self.outputs)


@dataclass(frozen=True, slots=True)
class Survey:
    """The result of a survey.

    Attributes:
        hangs: The hanging transactions, ordered by partition.
        asked: How many partitions were checked.
        missing: Topics that do not exist.
        unasked: Partitions that could not be checked, with the reason.
    """

    hangs: tuple[Hang, ...]
    asked: int
    missing: tuple[str, ...]
    unasked: Mapping[Partition, str]


def survey(client: OperatorClient, topics: Topics, now_ms: int) -> Survey:
    """Return the transactions that hang in the service's topics and in its groups' offsets.

    Raises:
        BrokerError: Topics or coordinators cannot be described.
        AuthorizationError: The cluster denies the right.
    """
    leaders = client.partitions([*topics.names, OFFSETS_TOPIC])
    of_groups = _offsets_partitions(topics.internal, leaders)
    partitions = sorted(at for at in leaders if at[0] != OFFSETS_TOPIC or at in of_groups)
    unasked = {at: "it has no leader" for at in partitions if leaders[at] < 0}
    opened: list[OpenTransaction] = []
    for partition in partitions:
        if partition not in unasked:
            try:
                opened += client.open_transactions(partition)
            except BrokerError as error:
                unasked[partition] = str(error)
    return Survey(
        tuple(_hanging(client, sorted(opened), now_ms)),
        len(partitions) - len(unasked),
        tuple(name for name in dict.fromkeys(topics.names) if name not in {topic for topic, _ in leaders}),
        unasked,
    )


def find_again(client: OperatorClient, hang: Hang, now_ms: int) -> Hang | None:
    """Return a hanging transaction's current data; None if it has ended or no longer hangs."""
    opened = [each for each in client.open_transactions(hang.transaction.partition) if _is_same(each, hang)]
    return next(_hanging(client, opened, now_ms), None)


def _hanging(client: OperatorClient, opened: Sequence[OpenTransaction], now_ms: int) -> Iterator[Hang]:
    coordinators = client.coordinators({each.producer_id for each in opened}) if opened else {}
    for transaction in opened:
        hang = Hang(transaction, coordinators.get(transaction.producer_id))
        hangs = hang.is_abandoned or hang.is_overdue(now_ms)
        # A transaction that is open before and after the coordinator's answer was open at the answer.
        if hangs and any(_is_same(each, hang) for each in client.open_transactions(transaction.partition)):
            yield hang


def _is_same(transaction: OpenTransaction, hang: Hang) -> bool:
    known = hang.transaction
    return (transaction.producer_id, transaction.start) == (known.producer_id, known.start)


def _offsets_partitions(internal: StageTopics, leaders: Collection[Partition]) -> set[Partition]:
    count = sum(topic == OFFSETS_TOPIC for topic, _ in leaders)
    groups = (internal.group, internal.windows_group)
    return {offsets_partition(group, count) for group in groups} if count else set()
