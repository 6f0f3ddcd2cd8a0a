"""What the story is played on: the topics and the configuration file."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from driftgauge.kafka import client

__all__ = ["EVENTS_TOPIC", "TOPICS", "write_config"]

EVENTS_TOPIC = "embeddings"
_WINDOWS_TOPIC = "driftgauge.windows"
_DEAD_LETTERS_TOPIC = "driftgauge.dead-letters"
# That broker gives every topic four partitions, and a shard is a partition of the internal topics.
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
# Written by `driftgauge demo`, for its broker, which was in memory and ended with the demo.
# To watch events of your own, name your brokers below, remove session.timeout.ms,
# heartbeat.interval.ms, topics.internal, shards and commit_interval, and give the port a number.
"""


def write_config(
    path: Path, *, bootstrap: str, streams: Sequence[dict[str, object]]
) -> client.KafkaProperties:
    """Write the service's configuration, `streams` as they stand in it; return its Kafka properties."""
    kafka: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "driftgauge-demo",
        # It lets a group's members wait for one another as long as a session may last.
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 500,
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
        # A day is awaited before the next is sent, and takes a commit of each stage to be shown.
        "commit_interval": "200ms",
        "streams": list(streams),
        "http": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(_COMMENT + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return kafka
