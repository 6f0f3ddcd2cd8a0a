"""What the story is played on: the topics, the configuration file, the group's first offsets."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from driftgauge.kafka import client
from driftgauge.kafka.state import OffsetState, Progress

__all__ = ["EVENTS_TOPIC", "TOPICS", "commit_beginnings", "write_config"]

EVENTS_TOPIC = "embeddings"
_WINDOWS_TOPIC = "driftgauge.windows"
_DEAD_LETTERS_TOPIC = "driftgauge.dead-letters"
TOPICS = (EVENTS_TOPIC, _WINDOWS_TOPIC, _DEAD_LETTERS_TOPIC)

_COMMENT = """\
# Written by `driftgauge demo`, for its broker, which was in memory and is gone with the demo.
# To watch events of your own, name your brokers below, remove auto.offset.reset, session.timeout.ms
# and heartbeat.interval.ms, and give the port a number.
"""


def write_config(
    path: Path, *, bootstrap: str, streams: Sequence[dict[str, object]]
) -> client.KafkaProperties:
    """Write the service's configuration, `streams` as they stand in it; return its Kafka properties."""
    kafka: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "driftgauge-demo",
        # The embedded broker drops what grows beyond 5 MiB a partition: that must end the demo, not pass.
        "auto.offset.reset": "error",
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
        "streams": list(streams),
        "http": {"host": "127.0.0.1", "port": 0},
    }
    path.write_text(_COMMENT + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return kafka


def commit_beginnings(kafka: client.KafkaProperties) -> None:
    """Commit offset 0 of every partition for the group.

    With `auto.offset.reset: error` a group must have offsets to start from, and one that starts at 0
    notices if the broker has dropped anything since.
    """
    consumer = client.consumer(kafka)
    try:
        known = consumer.list_topics(EVENTS_TOPIC, timeout=client.REQUEST_TIMEOUT_S).topics
        beginnings = [
            Progress(EVENTS_TOPIC, partition, position=0, first_open=0)
            for partition in known[EVENTS_TOPIC].partitions
        ]
        OffsetState(consumer).commit(beginnings, {})
    finally:
        consumer.close()
