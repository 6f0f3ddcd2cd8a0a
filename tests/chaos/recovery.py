"""How long the group stands still, seen from outside: its committed offsets against the log's ends."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.chaos.background import Background

EVERY_S: Final = 0.25
REQUEST_TIMEOUT_S: Final = 1.0
RENEW_S: Final = 10.0


@dataclass(frozen=True)
class ProgressSample:
    """One look, between two moments of the monotonic clock; offsets by partition.

    Attributes:
        ends: The log's ends.
        committed: What the group has committed; negative where it has nothing.
    """

    begun_s: float
    ended_s: float
    ends: tuple[int, ...]
    committed: tuple[int, ...]


def recovered_s(
    samples: Sequence[ProgressSample], effective_s: float, *, has_ended: bool = False
) -> float | None:
    """When the whole group counted again after what took effect at that moment; None: not yet.

    That is when on every partition more has been committed than was in the log at the first look
    after the effect. A broker that is away answers no look, so its log stands still until it is back.
    Where the events have ended there may be no more to commit: all of them will do.
    """
    later = [sample for sample in samples if sample.begun_s >= effective_s]
    for sample in later:
        is_further = all(done > end for done, end in zip(sample.committed, later[0].ends, strict=True))
        if is_further or (has_ended and sample.committed == later[-1].ends):
            return sample.ended_s
    return None


class CountingProgress(Background):
    """Looks about four times a second, in a thread, as long as the context lasts.

    By a consumer that does not join the group: what an administration client asks of a group's
    coordinator aborts the process where the broker goes away meanwhile (librdkafka issue 4605).
    """

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        super().__init__()
        self._settings: dict[str, str | int] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            # Under read_committed it would wait for the end of an open transaction.
            "isolation.level": "read_uncommitted",
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        self._consumer = Consumer(self._settings)
        self._partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self.samples: list[ProgressSample] = []

    def _close(self) -> None:
        self._consumer.close()

    def recovered_s(self, effective_s: float, *, has_ended: bool = False) -> float | None:
        return recovered_s(self.samples, effective_s, has_ended=has_ended)

    def _run(self) -> None:
        seen_s = time.monotonic()
        while not self._done.wait(EVERY_S):
            try:
                self.samples.append(self._sample())
                seen_s = time.monotonic()
            except KafkaException:
                # The broker is away, or its coordinator is not back yet. Or the client has lost sight of it
                # for good, as one did for minutes in which the group went on.
                if time.monotonic() - seen_s > RENEW_S:
                    self._consumer.close()
                    self._consumer = Consumer(self._settings)
                    seen_s = time.monotonic()

    def _sample(self) -> ProgressSample:
        begun_s = time.monotonic()
        ends = [
            self._consumer.get_watermark_offsets(partition, timeout=REQUEST_TIMEOUT_S)[1]
            for partition in self._partitions
        ]
        committed = self._consumer.committed(self._partitions, timeout=REQUEST_TIMEOUT_S)
        for each in committed:
            if each.error is not None:
                raise KafkaException(each.error)
        return ProgressSample(
            begun_s, time.monotonic(), tuple(ends), tuple(each.offset for each in committed)
        )
