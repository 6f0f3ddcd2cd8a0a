"""What the story is played on: the topics and the configuration file."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from driftgauge.kafka import client

__all__ = ["EVENTS_TOPIC", "TOPICS", "write_config"]

EVENTS_TOPIC = "embeddings"
_WINDOWS_TOPIC = "driftgauge.windows"
_DEAD_LETTERS_TOPIC = "driftgauge.dead-letters"
_GROUP = "driftgauge-demo"
# So many partitions every topic of the embedded broker has.
_SHARDS = 4
_INTERNAL_TOPICS = tuple(f"driftgauge.{_GROUP}.{name}.{_SHARDS}" for name in ("partials", "changelog"))
TOPICS = (EVENTS_TOPIC, _WINDOWS_TOPIC, _DEAD_LETTERS_TOPIC, *_INTERNAL_TOPICS)

_COMMENT = """\
# Written by `driftgauge demo`, for its broker, which was in memory and is gone with the demo.
# To watch events of your own, name your brokers below, remove session.timeout.ms,
# heartbeat.interval.ms, shards and commit_interval, and give the port a number.
"""


def write_config(
    path: Path, *, bootstrap: str, streams: Sequence[dict[str, object]]
) -> client.KafkaProperties:
    """Write the service's configuration, `streams` as they stand in it; return its Kafka properties."""
    kafka: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": _GROUP,
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
        },
        # A day is awaited before the next is sent, and takes a commit of each stage to be shown.
        "commit_interval": "200ms",
        "shards": _SHARDS,
        "streams": list(streams),
        "http": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(_COMMENT + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return kafka
