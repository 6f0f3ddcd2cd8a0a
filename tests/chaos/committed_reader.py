"""An independent consumer that reads topics during a run and records every committed record it sees."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from tests.chaos.background_thread import BackgroundThread
from tests.chaos.checks import Check
from tests.harness.closing import close

POLL_S: Final = 0.5

Position = tuple[str, int, int]
"""Topic, partition, offset."""


class CommittedReader(BackgroundThread):
    """Reads under `read_committed`, in a thread and without joining a group, while the context is open.

    Topics may be created while it reads.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        super().__init__("the reader of committed records")
        self._topics = topics
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "committed-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,  # refused connections are expected
            }
        )
        self._assigned: set[tuple[str, int]] = set()
        self.seen: list[tuple[Position, int]] = []
        self.problems: list[str] = []

    def _close(self) -> None:
        close(self._consumer, "the consumer of committed records")

    def _run(self) -> None:
        polls = 0
        while not self._done.is_set():
            if polls % 10 == 0:
                self._assign_new_partitions()
            polls += 1
            for message in self._consumer.consume(1_000, POLL_S):
                error = message.error()
                if error is None:
                    self.seen.append(fingerprint(message))
                elif not error.retriable():
                    self.problems.append(error.str())

    def _assign_new_partitions(self) -> None:
        try:
            known = self._consumer.list_topics(timeout=POLL_S).topics
        except KafkaException:
            return  # the brokers are unavailable
        found = {
            (topic, number) for topic in self._topics if topic in known for number in known[topic].partitions
        }
        if new := sorted(found - self._assigned):
            self._consumer.incremental_assign(
                [TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in new]
            )
            self._assigned |= found


def fingerprint(message: Message) -> tuple[Position, int]:
    """Return a record's position and a checksum of its key and value."""
    content = zlib.crc32(message.value() or b"", zlib.crc32(message.key() or b""))
    return (message.topic() or "", message.partition() or 0, message.offset() or 0), content


def check_reads(
    seen: Iterable[tuple[Position, int]], problems: Sequence[str], final: Iterable[Message]
) -> Check:
    """Check that every record read as committed was read once and in order, and still exists at the end."""
    check = Check("records once read as committed stay, and are read once", mismatches=list(problems))
    last: dict[tuple[str, int], int] = {}
    seen_content: dict[Position, int] = {}
    for position, content in seen:
        topic, partition, offset = position
        is_next = offset > last.get((topic, partition), -1)
        check.compare(f"{position} was read in order of offset", is_next, expected=True)
        last[topic, partition] = offset
        seen_content[position] = content
    present = dict(map(fingerprint, final))
    # The reader may not have reached the ends.
    read = {position for position in present if position[2] <= last.get(position[:2], -1)}
    for position in sorted(seen_content.keys() | read):
        check.compare(f"content of {position}", seen_content.get(position), present.get(position))
    return check
