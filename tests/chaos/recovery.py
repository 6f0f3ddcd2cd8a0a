"""Measures recovery from outside: the group's committed offsets against the log end offsets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.chaos.background_thread import BackgroundThread
from tests.harness.closing import close

SAMPLE_INTERVAL_S: Final = 0.25
REQUEST_TIMEOUT_S: Final = 1.0
RECONNECT_S: Final = 10.0
CONSUMER: Final = "the consumer that samples offsets"


@dataclass(frozen=True)
class ProgressSample:
    """Offsets by partition, sampled between two times of the monotonic clock.

    Attributes:
        ends: The log end offsets.
        committed: The group's committed offsets; negative where there is none.
    """

    started_s: float
    ended_s: float
    ends: tuple[int, ...]
    committed: tuple[int, ...]


def recovered_s(
    samples: Sequence[ProgressSample], effective_s: float, *, has_ended: bool = False
) -> float | None:
    """Return when the group had recovered from a disruption that took effect at a time; None: not yet.

    The group has recovered when the committed offset of every partition is past the log end offset of the
    first sample after the effect. A broker that is down yields no samples. After the last event has been
    published, it suffices that all events are committed.
    """
    later = [sample for sample in samples if sample.started_s >= effective_s]
    for sample in later:
        is_past = all(done > end for done, end in zip(sample.committed, later[0].ends, strict=True))
        if is_past or (has_ended and sample.committed == later[-1].ends):
            return sample.ended_s
    return None


class ProgressSampler(BackgroundThread):
    """Samples the offsets about four times a second, in a thread, while the context is open.

    It uses a consumer that does not join the group: an admin client's request to a group coordinator aborts
    the process if the broker fails meanwhile (librdkafka issue 4605).
    """

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        super().__init__("the sampler of offsets")
        self._settings: dict[str, str | int] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            # Under read_committed the end would be the last stable offset.
            "isolation.level": "read_uncommitted",
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        self._consumer = Consumer(self._settings)
        self._partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self.samples: list[ProgressSample] = []

    def _close(self) -> None:
        close(self._consumer, CONSUMER)

    def recovered_s(self, effective_s: float, *, has_ended: bool = False) -> float | None:
        return recovered_s(self.samples, effective_s, has_ended=has_ended)

    def _run(self) -> None:
        sampled_s = time.monotonic()
        while not self._done.wait(SAMPLE_INTERVAL_S):
            try:
                self.samples.append(self._sample())
                sampled_s = time.monotonic()
            except KafkaException:
                # The broker or the coordinator is unavailable. A client may also fail to reconnect: one did
                # for minutes, while the group kept counting.
                if time.monotonic() - sampled_s > RECONNECT_S:
                    close(self._consumer, CONSUMER)
                    self._consumer = Consumer(self._settings)
                    sampled_s = time.monotonic()

    def _sample(self) -> ProgressSample:
        started_s = time.monotonic()
        ends = [
            self._consumer.get_watermark_offsets(partition, timeout=REQUEST_TIMEOUT_S)[1]
            for partition in self._partitions
        ]
        committed = self._consumer.committed(self._partitions, timeout=REQUEST_TIMEOUT_S)
        for each in committed:
            if each.error is not None:
                raise KafkaException(each.error)
        return ProgressSample(
            started_s, time.monotonic(), tuple(ends), tuple(each.offset for each in committed)
        )
