"""The configuration of the Kafka clients: defaults, properties that the service fixes, and their check."""

import os
import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from driftgauge.config import is_secret
from driftgauge.kafka.calls import no_thread
from driftgauge.kafka.client_log import LIBRDKAFKA, LostConnections
from driftgauge.watchdog import STATISTICS_MS

__all__ = [
    "KafkaProperties",
    "OnStatistics",
    "admin",
    "consumer",
    "fetched_bytes",
    "groupless_consumer",
    "largest_record",
    "producer",
    "property_problems",
    "transactional_producer",
]

KafkaProperties = Mapping[str, str | int | float | bool]
OnStatistics = Callable[[str], None]
OnError = Callable[[KafkaError], None]

REQUEST_TIMEOUT_S = 5.0

# The main thread, those of logical brokers, and some brokers; without one for more of these a client goes on.
_CLIENT_THREADS = 8

# librdkafka's default of message.max.bytes.
_LARGEST_RECORD = 1_000_000

# One section configures both kinds of client, and librdkafka warns of a property of the other kind.
_CONSUMER_ONLY = re.compile(
    r"group\.|session\.timeout|heartbeat\.|max\.p(?:oll|artition)\.|auto\.|fetch\.|queued\.|check\.crcs"
    r"|coordinator\."
)
_PRODUCER_ONLY = re.compile(
    r"transactional|transaction\.|linger\.|batch\.|acks|request\.|compression\.|partitioner"
    r"|message\.(?:timeout|send|max)|delivery\.|retries|sticky\.|queue\.buffering\."
)

# Prefix of librdkafka's errors about a combination of properties that it accepts one by one.
_COMBINATION_ERROR = re.compile(r"Failed to create [a-z ]+: ")

_SHARED_DEFAULTS: KafkaProperties = {
    "client.id": "driftgauge",
    # Clients reconnect to a restarted broker within a second rather than ten.
    "reconnect.backoff.max.ms": 1_000,
}
# KRaft declares a broker dead after 9 s (broker.session.timeout.ms), and moves its partitions, groups and
# transactions to other brokers within a second or two. A shorter timeout would give up assignments and
# transactions needlessly.
_FAILOVER_MS = 12_000

_CONSUMER_DEFAULTS: KafkaProperties = {
    # The default of 1 s stalls a fast reader each time its queue has been full.
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 100,
    # The default of 100,000 a partition takes up to 64 MiB, and cold memory, to read some seconds ahead.
    "queued.min.messages": 10_000,
    # These bound what a consumer holds, and what a poll takes from it (`fetched_bytes`).
    "queued.max.messages.kbytes": 32 * 1024,
    "fetch.max.bytes": 8 * 1024 * 1024,
    # After a crash the group waits this long for the old member (default: 45 s). Less than a failover and
    # one heartbeat would cost every member its assignment when a coordinator dies.
    "session.timeout.ms": _FAILOVER_MS + 1_000,
    # A member learns of a rebalance with its next heartbeat.
    "heartbeat.interval.ms": 1_000,
    # A rebalance waits this long for a member that does not answer: with the default, a group whose broker
    # crashed twice stood still for 5 minutes. The loop polls every 20 s at worst.
    "max.poll.interval.ms": 30_000,
    # The group finds new partitions within half a minute rather than five.
    "topic.metadata.refresh.interval.ms": 15_000,
}
# The loop commits offsets itself and needs end-of-partition events. A deleted position must be reported,
# not skipped. A member that keeps a partition over a rebalance continues to read it.
_CONSUMER_OWNED: KafkaProperties = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "group.protocol": "classic",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
# Records without a key go to random partitions one by one, rather than in bursts to one partition.
_PRODUCER_DEFAULTS: KafkaProperties = {
    "sticky.partitioning.linger.ms": 0,
    # Brokers limit the size of a batch as that of a record: in a batch of the default's 1 MB they may refuse
    # records for the size of others. A larger record is a batch of its own.
    "batch.size": 65_536,
}
_PRODUCER_OWNED: KafkaProperties = {"enable.idempotence": True}
_TRANSACTION_DEFAULTS: KafkaProperties = {
    "compression.type": "lz4",
    # The client leaves a broker that hangs with open connections within a failover.
    "socket.timeout.ms": 6_000,
    # A transaction outlives a failover. One left open by a dead replica without a successor of its name
    # blocks its partitions for this long, plus the brokers' interval of looking for such transactions.
    "transaction.timeout.ms": _FAILOVER_MS + 1_000,
}
_TRANSACTION_OWNED: KafkaProperties = {
    # `LostConnections` detects lost connections from these log lines.
    "log.connection.close": True,
    "log_level": 6,
    # The default rebootstraps once all connections are lost, even for a moment, and then sending offsets
    # hangs forever on a discarded coordinator (measured, 2.16;
    # https://github.com/confluentinc/librdkafka/issues/5511). The service replaces a lost client anyway.
    "metadata.recovery.strategy": "none",
}


def consumer(
    properties: KafkaProperties,
    group: str,
    on_statistics: OnStatistics | None = None,
    on_error: OnError | None = None,
) -> Consumer:
    """Return a consumer of the group.

    Args:
        properties: librdkafka's properties.
        group: The group.
        on_statistics: Called within polls with the client's statistics, JSON, every `STATISTICS_MS`.
        on_error: Called within polls with errors of connections. Fatal errors come with the records, and
            callbacks never see them.
    """
    own = {} if on_error is None else {"error_cb": on_error}
    return _consumer(properties, {"group.id": group, **own}, on_statistics)


def fetched_bytes(properties: KafkaProperties) -> int:
    """Return how many bytes of uncompressed records a consumer holds: a full queue, and one more answer."""
    own = {**_CONSUMER_DEFAULTS, **properties}
    return int(own["queued.max.messages.kbytes"]) * 1024 + int(own["fetch.max.bytes"])


def largest_record(properties: KafkaProperties) -> int:
    """Return how many bytes a producer takes in a record, its framing included."""
    return int(properties.get("message.max.bytes", _LARGEST_RECORD))


def groupless_consumer(
    properties: KafkaProperties, on_statistics: OnStatistics | None = None, *, goes_on: bool = False
) -> Consumer:
    """Return a consumer without a group, which reads from given offsets; arguments as `consumer`.

    If an offset is deleted, it goes on at the earliest record, or reports that.
    """
    return _consumer(properties, {"auto.offset.reset": "earliest"} if goes_on else {}, on_statistics)


def _consumer(
    properties: KafkaProperties, purpose: Mapping[str, object], on_statistics: OnStatistics | None = None
) -> Consumer:
    _require_threads()
    own = {name: value for name, value in properties.items() if not _PRODUCER_ONLY.match(name)}
    config = {**_SHARED_DEFAULTS, **_CONSUMER_DEFAULTS, **own, **_CONSUMER_OWNED, **purpose}
    if on_statistics is not None:
        config |= {"statistics.interval.ms": STATISTICS_MS, "stats_cb": on_statistics}
    return Consumer(config, logger=LIBRDKAFKA)


def transactional_producer(properties: KafkaProperties, transactional_id: str, on_error: OnError) -> Producer:
    """Return a transactional producer, which aborts the open transaction of an older one with its id.

    Args:
        properties: librdkafka's properties.
        transactional_id: The transactional id.
        on_error: Called within calls of the producer with errors and lost connections; must not raise.
    """
    own = {**_TRANSACTION_DEFAULTS, **properties, **_TRANSACTION_OWNED}
    return _producer(
        {**own, "transactional.id": transactional_id},
        logger=LostConnections(on_error),
        error_cb=on_error,
    )


def producer(properties: KafkaProperties) -> Producer:
    """Return an idempotent producer."""
    return _producer(properties, logger=LIBRDKAFKA)


def _producer(properties: KafkaProperties, **handlers: object) -> Producer:
    _require_threads()
    own = {name: value for name, value in properties.items() if not _CONSUMER_ONLY.match(name)}
    return Producer({**_SHARED_DEFAULTS, **_PRODUCER_DEFAULTS, **own, **_PRODUCER_OWNED, **handlers})


def admin(properties: KafkaProperties, on_error: OnError | None = None) -> AdminClient:
    """Return an administration client; its `poll` calls `on_error` with the errors of its connections."""
    _require_threads()
    own: dict[str, Any] = {
        name: value
        for name, value in properties.items()
        if not _CONSUMER_ONLY.match(name) and not _PRODUCER_ONLY.match(name)
    }
    if on_error is not None:
        own["error_cb"] = on_error
    return AdminClient({**_SHARED_DEFAULTS, **own}, logger=LIBRDKAFKA)


def _require_threads() -> None:
    """Raise ClientLost unless the threads of a new client can be started.

    librdkafka ends the process if it cannot start one (2.16: `rd_kafka_broker_add_logical`).
    """
    release = threading.Event()
    try:
        for _ in range(_CLIENT_THREADS):
            threading.Thread(target=release.wait, name="probe", daemon=True).start()
    except RuntimeError as error:
        raise no_thread(error) from error
    finally:
        release.set()


def property_problems(properties: KafkaProperties) -> list[str]:
    """Return librdkafka's objections to the properties or their combination, without secret values."""
    problems = []
    for name, value in properties.items():
        # librdkafka stops at the first wrong property, so each is tried alone, without a connection.
        refusal = _refusal(partial(Consumer, {"group.id": "check", name: value}, logger=LIBRDKAFKA))
        # An error with this prefix is about a combination, here with the defaults.
        if refusal is not None and not _COMBINATION_ERROR.match(refusal):
            problems.append(f"kafka.{name}: {'is refused by librdkafka' if is_secret(name) else refusal}")
    if problems:
        return problems
    unconnected = {name: value for name, value in properties.items() if name != "bootstrap.servers"}
    factories = (
        partial(consumer, group="check"),
        producer,
        partial(transactional_producer, transactional_id="check", on_error=lambda _: None),
        admin,
    )
    refusals = [_refusal(partial(factory, unconnected)) for factory in factories]
    combination_errors = [_COMBINATION_ERROR.sub("", refusal) for refusal in refusals if refusal is not None]
    # librdkafka says of a file that cannot be read only which routine failed. "probe" lets it look for one.
    unreadable = [
        f"kafka.{name}: {value} cannot be read; check that it exists, and its rights"
        for name, value in properties.items()
        if combination_errors
        and name.endswith(".location")
        and value != "probe"
        and not os.access(str(value), os.R_OK)
    ]
    return unreadable or [f"kafka: {refusal}" for refusal in dict.fromkeys(combination_errors)]


def _refusal(factory: Callable[[], object]) -> str | None:
    """Return librdkafka's reason for not creating a client; None if it creates one."""
    try:
        factory()
    except (KafkaException, TypeError, ValueError) as error:
        cause = error.args[0]
        return (cause.str() if isinstance(cause, KafkaError) else str(cause)).strip()
    return None
