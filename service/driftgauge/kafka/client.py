"""How driftgauge configures its Kafka clients, and what it asks a cluster before it starts."""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from driftgauge.config import is_secret

__all__ = [
    "KafkaProperties",
    "admin",
    "consumer",
    "producer",
    "property_problems",
    "table_consumer",
    "transactional_producer",
]

KafkaProperties = Mapping[str, str | int | float | bool]

REQUEST_TIMEOUT_S = 5.0


class _OncePerInterval(logging.Filter):
    """Lets a complaint pass once an interval: while a broker is away librdkafka repeats it tirelessly.

    What a client says of one broker is one complaint, whatever the times and numbers in its words.
    """

    INTERVAL_S = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._passed_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be logged."""
        complaint = " ".join(record.getMessage().split(" ", 3)[:3])
        last_s = self._passed_s.get(complaint)
        if last_s is not None and record.created - last_s < self.INTERVAL_S:
            return False
        self._passed_s[complaint] = record.created
        return True


_LIBRDKAFKA = logging.getLogger("librdkafka")
_LIBRDKAFKA.addFilter(_OncePerInterval())

# librdkafka warns of a property that the other kind of client has: one section serves both.
_CONSUMER_ONLY = re.compile(
    r"group\.|session\.timeout|heartbeat\.|max\.p(?:oll|artition)\.|auto\.|fetch\.|queued\.|check\.crcs"
    r"|coordinator\."
)
_PRODUCER_ONLY = re.compile(
    r"transactional|transaction\.|linger\.|batch\.|acks|request\.|compression\.|partitioner"
    r"|message\.(?:timeout|send)|delivery\.|retries|sticky\.|queue\.buffering\."
)

# What librdkafka refuses as a whole, having taken each property by itself.
_ON_MAKING = re.compile(r"Failed to create [a-z ]+: ")

_SHARED_DEFAULTS: KafkaProperties = {"client.id": "driftgauge"}
_CONSUMER_DEFAULTS: KafkaProperties = {
    # The default of 1 s stalls a fast reader each time its queue has been full.
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 100,
    # After a crash the group waits this long for the old member; the default is 45 s of blindness.
    # Brokers take no less unless told to.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_500,
    # So long may a rebalance wait for a member that does not answer: the group of a broker that crashed
    # twice stood still for all of the default's 5 minutes. The loop comes round within some 10 s at worst.
    "max.poll.interval.ms": 45_000,
    # New partitions are met within half a minute rather than five.
    "topic.metadata.refresh.interval.ms": 30_000,
}
# The range assignor is eager: every rebalance hands over a whole new assignment, and with it a whole
# new pipeline. Commits and end-of-partition notices are the loop's own business. Where a position is
# no longer kept, the loss must be told, not skipped.
_CONSUMER_OWNED: KafkaProperties = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "range",
}
# Records without a key go to partitions at random, one by one, rather than in bursts to one of them.
_PRODUCER_DEFAULTS: KafkaProperties = {"sticky.partitioning.linger.ms": 0}
_PRODUCER_OWNED: KafkaProperties = {"enable.idempotence": True}
# A replica that died without a successor of its name holds its partitions up for as long.
_TRANSACTION_DEFAULTS: KafkaProperties = {"transaction.timeout.ms": 10_000, "compression.type": "lz4"}
# To begin anew at bootstrap.servers once all connections are lost, be it for a moment, is librdkafka's
# default, and leaves sending offsets hanging for ever on a coordinator that it has discarded (measured,
# 2.16; https://github.com/confluentinc/librdkafka/issues/5511). A lost client is replaced here anyway.
_TRANSACTION_OWNED: KafkaProperties = {"metadata.recovery.strategy": "none"}


def consumer(properties: KafkaProperties) -> Consumer:
    """Return a consumer of the group in `properties`."""
    own = {name: value for name, value in properties.items() if not _PRODUCER_ONLY.match(name)}
    return Consumer({**_SHARED_DEFAULTS, **_CONSUMER_DEFAULTS, **own, **_CONSUMER_OWNED}, logger=_LIBRDKAFKA)


def table_consumer(properties: KafkaProperties) -> Consumer:
    """Return a consumer that reads partitions from their beginning, as a member of no group."""
    own = {name: value for name, value in properties.items() if not _PRODUCER_ONLY.match(name)}
    return Consumer(
        {**_SHARED_DEFAULTS, **_CONSUMER_DEFAULTS, **own, **_CONSUMER_OWNED, "auto.offset.reset": "earliest"},
        logger=_LIBRDKAFKA,
    )


def transactional_producer(properties: KafkaProperties, transactional_id: str) -> Producer:
    """Return a producer of transactions; the newest one with an id ends what others left open."""
    own = {**_TRANSACTION_DEFAULTS, **properties, **_TRANSACTION_OWNED}
    return producer({**own, "transactional.id": transactional_id})


def producer(properties: KafkaProperties) -> Producer:
    """Return an idempotent producer."""
    own = {name: value for name, value in properties.items() if not _CONSUMER_ONLY.match(name)}
    return Producer({**_SHARED_DEFAULTS, **_PRODUCER_DEFAULTS, **own, **_PRODUCER_OWNED}, logger=_LIBRDKAFKA)


def admin(properties: KafkaProperties) -> AdminClient:
    """Return an administration client."""
    own = {
        name: value
        for name, value in properties.items()
        if not _CONSUMER_ONLY.match(name) and not _PRODUCER_ONLY.match(name)
    }
    return AdminClient({**_SHARED_DEFAULTS, **own}, logger=_LIBRDKAFKA)


def property_problems(properties: KafkaProperties) -> list[str]:
    """Return what librdkafka refuses among the properties, or in their combination; no secret is quoted."""
    problems = []
    for name, value in properties.items():
        # Each is tried alone, for librdkafka stops at the first; nothing is connected.
        refusal = _refusal(partial(Consumer, {"group.id": "check", name: value}, logger=_LIBRDKAFKA))
        # What it says on making the client is about a combination, here one with defaults.
        if refusal is not None and not _ON_MAKING.match(refusal):
            problems.append(f"kafka.{name}: {'is refused by librdkafka' if is_secret(name) else refusal}")
    if problems:
        return problems
    unconnected = {name: value for name, value in properties.items() if name != "bootstrap.servers"}
    makes = (consumer, producer, partial(transactional_producer, transactional_id="check"), admin)
    refusals = [_refusal(partial(make, unconnected)) for make in makes]
    together = [_ON_MAKING.sub("", refusal) for refusal in refusals if refusal is not None]
    return [f"kafka: {refusal}" for refusal in dict.fromkeys(together)]


def _refusal(make: Callable[[], object]) -> str | None:
    """Return why librdkafka does not make a client; None where it does."""
    try:
        make()
    except (KafkaException, TypeError, ValueError) as error:
        cause = error.args[0]
        return (cause.str() if isinstance(cause, KafkaError) else str(cause)).strip()
    return None
