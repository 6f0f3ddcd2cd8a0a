"""The demo's topics and the configuration of its service."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from driftgauge.kafka import client

__all__ = ["EVENTS_TOPIC", "TOPICS", "write_config"]

EVENTS_TOPIC = "embeddings"
_WINDOWS_TOPIC = "driftgauge.windows"
_DEAD_LETTERS_TOPIC = "driftgauge.dead-letters"
# The embedded broker gives every topic four partitions, and each shard needs one.
_SHARDS = 4
_INTERNAL = "driftgauge"
TOPICS = (
    EVENTS_TOPIC,
    _WINDOWS_TOPIC,
    _DEAD_LETTERS_TOPIC,
    f"{_INTERNAL}.partials.{_SHARDS}",
    f"{_INTERNAL}.changelog.{_SHARDS}",
)

_COMMENT = """\
# Written by `python -m deploy.demo` for its broker, which was in memory and ended with the demo.
# To watch your own events, name your brokers below, remove check.crcs, session.timeout.ms,
# heartbeat.interval.ms, topics.internal, shards, commit_interval and allowed_age, and set the port.
"""


def write_config(
    path: Path, *, bootstrap: str, streams: Sequence[dict[str, object]]
) -> client.KafkaProperties:
    """Write the service's configuration, with `streams` as given; return its Kafka properties."""
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
        # Each day is awaited, and its window appears after a commit of each stage.
        "commit_interval": "200ms",
        # The days are those of the published case.
        "allowed_age": "10000d",
        "streams": list(streams),
        "http": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(_COMMENT + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return kafka
