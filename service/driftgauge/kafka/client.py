"""How driftgauge configures its Kafka clients, and what it asks a cluster before it starts."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from driftgauge.config import is_secret
from driftgauge.kafka.client_log import LIBRDKAFKA, ClientLogger, ConnectionWatch

__all__ = [
    "KafkaProperties",
    "admin",
    "changelog_consumer",
    "consumer",
    "producer",
    "property_problems",
    "transactional_producer",
    "uncommitted_consumer",
]

KafkaProperties = Mapping[str, str | int | float | bool]

REQUEST_TIMEOUT_S = 5.0


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

_SHARED_DEFAULTS: KafkaProperties = {
    "client.id": "driftgauge",
    # A broker that is back is to be met within a second rather than ten.
    "reconnect.backoff.max.ms": 1_000,
}
# KRaft declares a broker dead after 9 s (broker.session.timeout.ms). Its partitions, and the groups and
# transactions that it coordinated, then have a new broker within a second or two. What is given up
# before that is given up for nothing: an assignment by every member, or a transaction.
_FAILOVER_MS = 12_000

_CONSUMER_DEFAULTS: KafkaProperties = {
    # The default of 1 s stalls a fast reader each time its queue has been full.
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 100,
    # After a crash the group waits this long for the old member; the default is 45 s of blindness. Less
    # than a failover and one heartbeat would cost every member its assignment when a coordinator dies.
    "session.timeout.ms": _FAILOVER_MS + 1_000,
    # A rebalance is heard of with the next heartbeat.
    "heartbeat.interval.ms": 1_000,
    # So long may a rebalance wait for a member that does not answer: the group of a broker that crashed
    # twice stood still for all of the default's 5 minutes. The loop comes round within 20 s at worst.
    "max.poll.interval.ms": 30_000,
    # New partitions are met within half a minute rather than five.
    "topic.metadata.refresh.interval.ms": 15_000,
}
# Commits and end-of-partition notices are the loop's own business. Where a position is no longer kept,
# the loss must be told, not skipped. A member that keeps a partition over a rebalance reads on.
_CONSUMER_OWNED: KafkaProperties = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "group.protocol": "classic",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
# Records without a key go to partitions at random, one by one, rather than in bursts to one of them.
_PRODUCER_DEFAULTS: KafkaProperties = {"sticky.partitioning.linger.ms": 0}
_PRODUCER_OWNED: KafkaProperties = {"enable.idempotence": True}
_TRANSACTION_DEFAULTS: KafkaProperties = {
    "compression.type": "lz4",
    # A broker that stands still without closing its connections is left for another within the failover.
    "socket.timeout.ms": 6_000,
    # A transaction, and a record in it, outlives a failover. A replica that died inside one without a
    # successor of its name holds its partitions up for as long, and for the brokers' search for such.
    "transaction.timeout.ms": _FAILOVER_MS + 1_000,
}
_TRANSACTION_OWNED: KafkaProperties = {
    # By these lines `ConnectionWatch` learns of lost connections.
    "log.connection.close": True,
    "log_level": 6,
    # To start again at bootstrap.servers once all connections are lost, even for a moment, is the
    # default, and leaves sending offsets hanging for ever on a coordinator that it has discarded (measured,
    # 2.16; https://github.com/confluentinc/librdkafka/issues/5511). A lost client is replaced here anyway.
    "metadata.recovery.strategy": "none",
}


def consumer(properties: KafkaProperties, group: str) -> Consumer:
    """Return a consumer of the group."""
    return _consumer(properties, {"group.id": group})


def changelog_consumer(properties: KafkaProperties) -> Consumer:
    """Return a consumer that reads partitions from their beginning, as a member of no group."""
    return _consumer(properties, {"auto.offset.reset": "earliest"})


def uncommitted_consumer(properties: KafkaProperties) -> Consumer:
    """Return a consumer of what may never be committed, as a member of no group."""
    return _consumer(properties, {"auto.offset.reset": "earliest", "isolation.level": "read_uncommitted"})


def _consumer(properties: KafkaProperties, purpose: KafkaProperties) -> Consumer:
    own = {name: value for name, value in properties.items() if not _PRODUCER_ONLY.match(name)}
    return Consumer(
        {**_SHARED_DEFAULTS, **_CONSUMER_DEFAULTS, **own, **_CONSUMER_OWNED, **purpose}, logger=LIBRDKAFKA
    )


def transactional_producer(
    properties: KafkaProperties, transactional_id: str, on_error: Callable[[KafkaError], None]
) -> Producer:
    """Return a producer of transactions; the newest one with an id ends what others left open.

    Args:
        properties: librdkafka's.
        transactional_id: The id.
        on_error: Told, within calls of the producer, of errors and of lost connections; only records.
    """
    own = {**_TRANSACTION_DEFAULTS, **properties, **_TRANSACTION_OWNED}
    return _producer(
        {**own, "transactional.id": transactional_id},
        logger=ConnectionWatch(on_error),
        error_cb=on_error,
    )


def producer(properties: KafkaProperties) -> Producer:
    """Return an idempotent producer."""
    return _producer(properties, logger=LIBRDKAFKA)


def _producer(properties: KafkaProperties, **handlers: object) -> Producer:
    own = {name: value for name, value in properties.items() if not _CONSUMER_ONLY.match(name)}
    return Producer({**_SHARED_DEFAULTS, **_PRODUCER_DEFAULTS, **own, **_PRODUCER_OWNED, **handlers})


def admin(properties: KafkaProperties, logger: ClientLogger = LIBRDKAFKA) -> AdminClient:
    """Return an administration client."""
    own = {
        name: value
        for name, value in properties.items()
        if not _CONSUMER_ONLY.match(name) and not _PRODUCER_ONLY.match(name)
    }
    return AdminClient({**_SHARED_DEFAULTS, **own}, logger=logger)


def property_problems(properties: KafkaProperties) -> list[str]:
    """Return what librdkafka refuses among the properties, or in their combination; no secret is quoted."""
    problems = []
    for name, value in properties.items():
        # Each is tried alone, for librdkafka stops at the first; nothing is connected.
        refusal = _refusal(partial(Consumer, {"group.id": "check", name: value}, logger=LIBRDKAFKA))
        # What it says on making the client is about a combination, here one with defaults.
        if refusal is not None and not _ON_MAKING.match(refusal):
            problems.append(f"kafka.{name}: {'is refused by librdkafka' if is_secret(name) else refusal}")
    if problems:
        return problems
    unconnected = {name: value for name, value in properties.items() if name != "bootstrap.servers"}
    makes = (
        partial(consumer, group="check"),
        producer,
        partial(transactional_producer, transactional_id="check", on_error=lambda _: None),
        admin,
    )
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
