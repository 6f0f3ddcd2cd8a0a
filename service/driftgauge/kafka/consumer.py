"""The consumer loop: poll -> process -> commit, through every change of the assignment."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from driftgauge.config import Settings
from driftgauge.core.pipeline import Pipeline, StreamSpec
from driftgauge.errors import BrokerError
from driftgauge.events.decoder import Decoder
from driftgauge.kafka import client
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.ends import EndOffsets
from driftgauge.kafka.output import Output
from driftgauge.kafka.ownership import Ownership
from driftgauge.kafka.state import OffsetState, Progress, other_log
from driftgauge.telemetry.health import Condition, Health
from driftgauge.telemetry.metrics import Telemetry

__all__ = ["ConsumerLoop"]

_log = logging.getLogger(__name__)

# consume() returns with this many or when the time is up: enough for a matrix product to pay,
# short enough for a signal to be heard at once (Python runs no handler inside it).
_BATCH = 1_000
_POLL_S = 0.1
_COMMIT_INTERVAL_MS = 1_000
# A broker that is slower than this is polled meanwhile, and the commit tried again.
_FLUSH_S = 2.0
# When leaving, a broker that does not answer must not hold the process back.
_LAST_FLUSH_S = 1.0
_TOPIC_RETRY_S = 1.0
_OFFSET_ATTEMPTS = 5
_OFFSET_RETRY_S = 1.0


class ConsumerLoop:
    """Reads the events topics as the one member of its group, until told to stop.

    One replica is supported: while the group has another member, each of the two holds a part of
    the events and neither could know a whole window, so this one reads nothing and is not ready.
    """

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        decoder: Decoder,
        *,
        telemetry: Telemetry,
        health: Health,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._decoder = decoder
        self._telemetry = telemetry
        self._health = health
        self._clock_ms = clock_ms
        self._admin = client.admin(settings.kafka)
        self._consumer = client.consumer(settings.kafka)
        self._state = OffsetState(self._consumer)
        self._output = Output(
            client.producer(settings.kafka),
            windows_topic=settings.topics.windows,
            dead_letters_topic=settings.topics.dead_letters,
        )
        self._ownership: Ownership | None = None

    def run(self, stopping: threading.Event) -> None:
        """Read until `stopping` is set, then commit and leave the group.

        Raises:
            BrokerError: Kafka failed in a way that waiting will not mend.
            StateError: The committed state cannot be used.
        """
        try:
            if self._await_topics(stopping):
                self._consumer.subscribe(
                    list(self._settings.topics.events),
                    on_assign=self._assigned,
                    on_revoke=self._revoked,
                    on_lost=self._lost,
                )
                self._read(stopping)
        except BaseException:
            # Whatever went wrong, what is held must not be committed on the way out.
            self._ownership = None
            raise
        finally:
            self._consumer.close()

    def _await_topics(self, stopping: threading.Event) -> bool:
        """Create the topics written to, wait for those read; False when told to stop meanwhile."""
        topics = self._settings.topics
        while not stopping.is_set():
            self._health.polled()
            try:
                client.create_missing_topics(self._admin, [topics.windows, topics.dead_letters])
                missing = client.missing_topics(self._admin, topics.events)
            except BrokerError as error:
                # An outage at the start is as good as one later on: it is waited out.
                _log.warning("waiting for the cluster", extra={"error": str(error)})
            else:
                if not missing:
                    return True
                _log.warning("waiting for topics to be created", extra={"missing": missing})
            stopping.wait(_TOPIC_RETRY_S)
        return False

    def _read(self, stopping: threading.Event) -> None:
        committed_ms = self._clock_ms()
        while not stopping.is_set():
            messages = self._consumer.consume(_BATCH, _POLL_S)
            now_ms = self._clock_ms()
            self._health.polled()
            self._telemetry.polled(now_ms)
            ownership = self._ownership
            if ownership is None:
                continue
            ownership.process(messages)
            # A clock that was set back must not put commits off.
            if not 0 <= now_ms - committed_ms < _COMMIT_INTERVAL_MS:
                committed_ms = now_ms
                ownership.commit(flush_s=_FLUSH_S)
                ownership.report_positions(self._consumer)
                self._health.set_ready(Condition.CAUGHT_UP, met=ownership.caught_up)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        held = [(partition.topic, partition.partition) for partition in partitions]
        total = self._count_partitions()
        whole = len(held) == total
        self._telemetry.assigned(held if whole else [])
        self._health.set_ready(Condition.PARTITIONS_ASSIGNED, met=whole)
        if not whole:
            _log.error(
                "another member is in the consumer group; this version supports one replica, and reads "
                "nothing until it holds every partition",
                extra={"assigned": len(held), "partitions": total},
            )
            consumer.assign([])
            return
        restored = self._state.restore(held)
        self._compare_with_log(consumer, restored.progress)
        assignment = Assignment(held, restored.progress)
        self._ownership = Ownership(
            assignment=assignment,
            pipeline=Pipeline(self._specs, assignment.partitions, self._clock_ms(), restored.snapshots),
            decoder=self._decoder,
            ends=EndOffsets(self._admin),
            output=self._output,
            state=self._state,
            telemetry=self._telemetry,
            clock_ms=self._clock_ms,
            lead_ms=self._settings.allowed_lead,
        )
        consumer.assign(
            [
                TopicPartition(topic, index, OFFSET_INVALID if start is None else start)
                for code, (topic, index) in assignment.partitions.items()
                for start in [assignment.start_offset(code)]
            ]
        )

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if self._ownership is not None:
            self._ownership.commit(flush_s=_LAST_FLUSH_S)
        self._drop()
        self._telemetry.revoked([(partition.topic, partition.partition) for partition in partitions])

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop()
        self._telemetry.lost([(partition.topic, partition.partition) for partition in partitions])

    def _drop(self) -> None:
        self._ownership = None
        self._health.set_ready(Condition.PARTITIONS_ASSIGNED, met=False)
        self._health.set_ready(Condition.CAUGHT_UP, met=False)

    def _compare_with_log(self, consumer: Consumer, progress: Sequence[Progress]) -> None:
        """Tell of events that were to be counted again and are gone; stop where the log is another one."""
        for at in progress:
            where = f"{at.topic}[{at.partition}]"
            begin, end = _log_offsets(consumer, TopicPartition(at.topic, at.partition))
            if end < at.position:
                finding = f"ends at offset {end}, and the group has read it up to {at.position}"
                raise other_log(where, finding)
            if begin > at.first_open:
                _log.error(
                    "events of open windows are no longer kept; what was published of these windows stands",
                    extra={"topic": at.topic, "partition": at.partition, "lost": begin - at.first_open},
                )

    def _count_partitions(self) -> int:
        try:
            # Not of the consumer, whose callback this runs in: the client would abort the process at
            # the next callback (a log message is one) within the same poll.
            known = self._admin.list_topics(timeout=client.REQUEST_TIMEOUT_S).topics
        except KafkaException as error:
            message = (
                f"the partitions of the events topics are unknown ({error.args[0].str()}); check the brokers"
            )
            raise BrokerError(message) from error
        # A topic may have been deleted meanwhile.
        return sum(len(known[topic].partitions) for topic in self._settings.topics.events if topic in known)


def _log_offsets(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """Return where a partition begins and ends; a broker that has just started may not lead it yet."""
    for attempt in range(1, _OFFSET_ATTEMPTS + 1):
        try:
            offsets: tuple[int, int] = consumer.get_watermark_offsets(
                partition, timeout=client.REQUEST_TIMEOUT_S
            )
        except KafkaException as error:
            if attempt == _OFFSET_ATTEMPTS:
                where = f"{partition.topic}[{partition.partition}]"
                message = f"the offsets of {where} are unknown ({error.args[0].str()}); check the brokers"
                raise BrokerError(message) from error
            time.sleep(_OFFSET_RETRY_S)
        else:
            return offsets
    raise AssertionError  # the last attempt returns or raises
