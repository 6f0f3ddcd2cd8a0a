"""Carries out the planned disruptions of replicas and brokers, and measures the recovery times."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.chaos.background_thread import BackgroundThread
from tests.chaos.brokers import BrokerLocator
from tests.chaos.plan import BrokerRole, Disruption, DisruptionKind, Step
from tests.chaos.replicas import Replicas
from tests.chaos.workload import PublisherProcess
from tests.harness.closing import close
from tests.harness.node import Node
from tests.harness.relay import Relay
from tests.harness.service import ReplicaProcess

SAMPLE_INTERVAL_S: Final = 0.25
REQUEST_TIMEOUT_S: Final = 1.0
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

    def _run(self) -> None:
        sampled_s = time.monotonic()
        while not self._done.wait(SAMPLE_INTERVAL_S):
            try:
                self.samples.append(self._sample())
                sampled_s = time.monotonic()
            except KafkaException:
                # The broker or the coordinator is unavailable. A client may also fail to reconnect: one did
                # for minutes, while the group kept counting.
                if time.monotonic() - sampled_s > 10.0:
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


# The service commits every second, unless its partitions move.
HOLD_LIMIT_S: Final = 120.0


@dataclass(frozen=True)
class DisruptionOutcome:
    """One disruption and its recovery time.

    Attributes:
        disruption: The disruption.
        at_s: Its start, from the first event.
        overlaps: Whether another disruption overlapped it.
        recovery_s: From its start until every partition is counted again; None: not within the limit.
    """

    disruption: Disruption
    at_s: float
    overlaps: bool
    recovery_s: float | None


@dataclass
class DisruptionRunner:
    """Carries out the steps of the plan.

    Attributes:
        brokers, replicas: What is disrupted; `relay`: the way of one replica to the brokers, if there is one.
        progress, publishing: They show when the service has recovered.
        recovery_limit_s: The longest wait for that.
        failures: The disruptions that did not happen as planned.
    """

    brokers: BrokerLocator
    replicas: Replicas
    progress: ProgressSampler
    publishing: PublisherProcess
    relay: Relay | None
    recovery_limit_s: float
    failures: list[str] = field(default_factory=list)

    def run_step(self, step: Step, started_s: float) -> list[DisruptionOutcome]:
        """Carry out a step, and wait until all replicas are ready and the service has recovered.

        Args:
            step: The step.
            started_s: When the first event was sent, by the monotonic clock.
        """
        time.sleep(max(0.0, started_s + step.at_s - time.monotonic()))
        with ThreadPoolExecutor(len(step.disruptions)) as threads:
            times_s = list(threads.map(self._disrupt, step.disruptions))
        self.replicas.wait_until_ready()
        return [
            DisruptionOutcome(
                disruption,
                begun_s - started_s,
                len(times_s) > 1,
                self._wait_for_recovery(begun_s, effective_s),
            )
            for disruption, (begun_s, effective_s) in zip(step.disruptions, times_s, strict=True)
        ]

    def _disrupt(self, disruption: Disruption) -> tuple[float, float]:
        """Carry out a disruption; return when it began, and the time from which recovery is measured.

        That is what an action returns: the exit of a terminated replica, the readiness of an added one, the
        return of the only broker, the last refusal of a slow coordinator. Else it is the beginning.
        """
        time.sleep(disruption.after_s)
        actions: dict[DisruptionKind, Callable[[str, float], float | None]] = {
            DisruptionKind.KILL: self._kill,
            DisruptionKind.PAUSE: self._pause,
            DisruptionKind.TERMINATE: self._terminate,
            DisruptionKind.ADD: self._add,
            DisruptionKind.REMOVE: self._remove,
            DisruptionKind.CUT: self._cut,
            DisruptionKind.HOLD: self._hold,
            DisruptionKind.SLOW: self._slow,
            DisruptionKind.BROKER_RESTART: partial(self._take_down, Node.stop),
            DisruptionKind.BROKER_KILL: partial(self._take_down, Node.kill),
            DisruptionKind.BROKER_PAUSE: self._pause_broker,
            DisruptionKind.BELOW_MINIMUM: self._keep_below_minimum,
        }
        begun_s = time.monotonic()
        effective_s = actions[disruption.kind](disruption.target, disruption.away_s)
        return begun_s, begun_s if effective_s is None else effective_s

    def _kill(self, name: str, away_s: float) -> None:
        self.replicas.kill(name)
        time.sleep(away_s)
        self.replicas.start(name)

    def _pause(self, name: str, away_s: float) -> None:
        _suspend(self.replicas.running[name], away_s)

    def _terminate(self, name: str, away_s: float) -> float:
        exited_s = self._remove(name, away_s)
        time.sleep(away_s)
        self.replicas.start(name)
        return exited_s

    def _add(self, name: str, _: float) -> float:
        self.replicas.start(name)
        self.replicas.wait_until_ready()
        return time.monotonic()

    def _remove(self, name: str, _: float) -> float:
        self.replicas.terminate(name)
        return time.monotonic()

    def _cut(self, _: str, away_s: float) -> None:
        self.relay.cut()
        time.sleep(away_s)
        self.relay.reconnect()

    def _hold(self, name: str, _: float) -> None:
        held = self.relay.hold_next_commit()
        if not (held.is_due.wait(HOLD_LIMIT_S) and held.wait_until_delivered()):
            self.failures.append(f"a held commit of {name} was not delivered within {HOLD_LIMIT_S:g} s")

    def _slow(self, name: str, away_s: float) -> float:
        if not self.relay.slow_coordinator("count", away_s).end(HOLD_LIMIT_S + away_s):
            self.failures.append(f"{name} did not replace its producer within {HOLD_LIMIT_S + away_s:.0f} s")
        return time.monotonic()

    def _take_down(self, end: Callable[[Node], None], role: str, away_s: float) -> float | None:
        """Stop or kill a broker, and restart it."""
        node = self.brokers.find(BrokerRole(role))
        end(node)
        time.sleep(away_s)
        node.start()
        if not self.brokers.is_replicated:
            return time.monotonic()
        # The next outage must not stop the last in-sync replica.
        self.brokers.await_all_in_sync()
        return None

    def _pause_broker(self, role: str, away_s: float) -> None:
        """Suspend a broker; its connections stay open, and it answers no requests."""
        _suspend(self.brokers.find(BrokerRole(role)), away_s)
        self.brokers.await_all_in_sync()

    def _keep_below_minimum(self, _: str, away_s: float) -> float:
        """Stop all brokers but one, below min.insync.replicas (2); the controller keeps running."""
        stopped = self.brokers.all_but_least_leading()
        for node in stopped:
            node.stop()
        self.brokers.await_below_minimum()
        time.sleep(away_s)
        try:
            self.brokers.await_below_minimum()
        except AssertionError as error:
            self.failures.append(f"the ISR did not stay below the minimum: {error}")
        for node in stopped:
            node.start()
        restored_s = time.monotonic()
        self.brokers.await_all_in_sync()
        return restored_s

    def _wait_for_recovery(self, begun_s: float, effective_s: float) -> float | None:
        deadline = time.monotonic() + self.recovery_limit_s
        while time.monotonic() < deadline:
            has_ended = not self.publishing.is_running
            if (at_s := recovered_s(self.progress.samples, effective_s, has_ended=has_ended)) is not None:
                return at_s - begun_s
            time.sleep(SAMPLE_INTERVAL_S)
        return None


def _suspend(process: Node | ReplicaProcess, away_s: float) -> None:
    process.pause()
    time.sleep(away_s)
    process.resume()
