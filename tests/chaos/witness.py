"""An independent reader that follows topics all through a run, and remembers what it was shown."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from tests.chaos.background import Background
from tests.chaos.verdict import Check

POLL_S: Final = 0.5
LOOK_S: Final = 5.0
BATCH: Final = 1_000

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Witness(Background):
    """Reads under `read_committed`, in a thread of its own and in no group, as long as the context lasts.

    Topics may come to be while it reads. A record that it was shown once must be there to the end.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        super().__init__()
        self._topics = topics
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "witness",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,  # refused connections are part of the run
            }
        )
        self._assigned: set[tuple[str, int]] = set()
        self.seen: list[tuple[Place, int]] = []
        self.problems: list[str] = []

    def _close(self) -> None:
        self._consumer.close()

    def _run(self) -> None:
        looks = 0
        while not self._done.is_set():
            if looks % int(LOOK_S / POLL_S) == 0:
                self._look_for_partitions()
            looks += 1
            for message in self._consumer.consume(BATCH, POLL_S):
                error = message.error()
                if error is None:
                    self.seen.append(fingerprint(message))
                elif not error.retriable():
                    self.problems.append(error.str())

    def _look_for_partitions(self) -> None:
        try:
            known = self._consumer.list_topics(timeout=POLL_S).topics
        except KafkaException:
            return  # the brokers are away
        found = {
            (topic, number) for topic in self._topics if topic in known for number in known[topic].partitions
        }
        if new := sorted(found - self._assigned):
            self._consumer.incremental_assign(
                [TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in new]
            )
            self._assigned |= found


def fingerprint(message: Message) -> tuple[Place, int]:
    """Where a record stands and a number that says what it holds."""
    content = zlib.crc32(message.value() or b"", zlib.crc32(message.key() or b""))
    return (message.topic() or "", message.partition() or 0, message.offset() or 0), content


def check_witness(
    seen: Iterable[tuple[Place, int]], problems: Sequence[str], final: Iterable[Message]
) -> Check:
    """All that was ever shown as committed is there at the end, and was shown once and in order."""
    check = Check("what was once shown as committed stays, and comes once", mismatches=list(problems))
    last: dict[tuple[str, int], int] = {}
    witnessed: dict[Place, int] = {}
    for place, content in seen:
        topic, partition, offset = place
        check.compare(
            f"{place} was shown after a later one", offset > last.get((topic, partition), -1), expected=True
        )
        last[topic, partition] = offset
        witnessed[place] = content
    there = dict(map(fingerprint, final))
    # It may not have come to the ends.
    read = {place for place in there if place[2] <= last.get(place[:2], -1)}
    for place in sorted(witnessed.keys() | read):
        check.compare(f"content of {place}", witnessed.get(place), there.get(place))
    return check
