"""The mock broker inside librdkafka, in memory, on a loopback port of this process; a configuration for it.

librdkafka has it for its own tests. Topics appear on the first request, with four partitions. Each
partition keeps its last 5 MiB, without compaction. Transactions are accepted but not enforced. All
data ends with the process, so the broker proves nothing about restarts.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml
from confluent_kafka import KafkaException, Producer

from driftgauge.errors import BrokerError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties

__all__ = ["EVENTS_TOPIC", "TOPICS", "EmbeddedBroker", "write_config"]

EVENTS_TOPIC = "embeddings"
_WINDOWS_TOPIC = "driftgauge.windows"
_DEAD_LETTERS_TOPIC = "driftgauge.dead-letters"
# The broker gives every topic four partitions, and each shard needs one.
_SHARDS = 4
_INTERNAL = "driftgauge"
TOPICS = (
    EVENTS_TOPIC,
    _WINDOWS_TOPIC,
    _DEAD_LETTERS_TOPIC,
    f"{_INTERNAL}.partials.{_SHARDS}",
    f"{_INTERNAL}.changelog.{_SHARDS}",
    f"{_INTERNAL}.heartbeats",
)

# syslog's warning level: librdkafka does not print its notice that the broker is a mock.
_LOG_LEVEL = 4
_COMMENT = """\
# Written by `python -m deploy.demo` for its broker, which was in memory and ended with the demo.
# To watch your own events, name your brokers below, remove check.crcs, session.timeout.ms,
# heartbeat.interval.ms, topics.internal, shards and commit_interval, and set the port.
"""


class EmbeddedBroker:
    """A context manager that runs the broker."""

    def __init__(self, topics: Sequence[str]) -> None:
        """Start the broker with these topics.

        Raises:
            BrokerError: The broker does not answer.
        """
        self._host: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": _LOG_LEVEL})
        try:
            for topic in topics:
                self._host.list_topics(topic, timeout=REQUEST_TIMEOUT_S)
            brokers = self._host.list_topics(timeout=REQUEST_TIMEOUT_S).brokers.values()
        except KafkaException as error:
            message = f"the embedded broker does not answer ({error.args[0].str()}); run the demo again"
            raise BrokerError(message) from error
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(self, *_: object) -> None:
        self._host = None  # The broker ends with the client that hosts it.


def write_config(path: Path, *, bootstrap: str, streams: Sequence[dict[str, object]]) -> KafkaProperties:
    """Write the configuration of a service on this broker, with `streams` as given; return its properties."""
    kafka: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "driftgauge-demo",
        # The embedded broker lets members wait for each other up to the session time-out.
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 500,
        # The embedded broker writes markers of transactions without a checksum.
        "check.crcs": False,
    }
    tree = {
        "kafka": kafka,
        "topics": {
            "events": [EVENTS_TOPIC],
            "windows": _WINDOWS_TOPIC,
            "dead_letters": _DEAD_LETTERS_TOPIC,
            "internal": _INTERNAL,
        },
        "shards": _SHARDS,
        # A window appears after a commit of each stage.
        "commit_interval": "200ms",
        "streams": list(streams),
        "http": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(_COMMENT + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return kafka
