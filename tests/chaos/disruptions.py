"""Carries out the planned disruptions of replicas and brokers, and measures the recovery times."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.chaos.background_thread import BackgroundThread
from tests.chaos.broker_locator import BrokerLocator
from tests.chaos.plan import Disruption, Step
from tests.chaos.profiles import BrokerRole, DisruptionKind
from tests.chaos.publisher import PublisherProcess
from tests.chaos.replicas import Replicas
from tests.harness.closing import close
from tests.harness.node import Node
from tests.harness.relay import Relay

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


@dataclass(frozen=True)
class DisruptionTiming:
    """When a disruption started and took effect, by the monotonic clock.

    Attributes:
        started_s: When it started.
        effective_s: The time from which recovery is measured. For a killed or paused replica and for a
            broker with replicas of its partitions it is the start. For a terminated replica it is its
            exit, for an added one its readiness, for the only broker its return, for a slow coordinator
            its last refusal.
    """

    started_s: float
    effective_s: float


class BrokerOutages:
    """Stops, kills and pauses brokers by role, and restarts them.

    Attributes:
        failures: The outages that did not happen as planned.
    """

    def __init__(self, brokers: BrokerLocator) -> None:
        self._brokers = brokers
        self.failures: list[str] = []

    def restart(self, role: str, away_s: float) -> DisruptionTiming:
        node = self._brokers.find(BrokerRole(role))
        stopped_s = time.monotonic()
        node.stop()
        return self._restart_after(node, stopped_s, away_s)

    def kill(self, role: str, away_s: float) -> DisruptionTiming:
        node = self._brokers.find(BrokerRole(role))
        killed_s = time.monotonic()
        node.kill()
        return self._restart_after(node, killed_s, away_s)

    def pause(self, role: str, away_s: float) -> DisruptionTiming:
        """Suspend a broker; its connections stay open, and it answers no requests."""
        node = self._brokers.find(BrokerRole(role))
        paused_s = time.monotonic()
        with ExitStack() as paused:
            node.pause()
            paused.callback(node.resume)
            time.sleep(away_s)
        self._brokers.await_all_in_sync()
        return DisruptionTiming(paused_s, paused_s)

    def keep_below_minimum(self, _: str, away_s: float) -> DisruptionTiming:
        """Stop all brokers but one, below min.insync.replicas (2); the controller keeps running."""
        started_s = time.monotonic()
        with ExitStack() as stopped:
            for node in self._brokers.all_but_least_leading():
                stopped.callback(node.start)
                node.stop()
            self._brokers.await_below_minimum()
            time.sleep(away_s)
            try:
                self._brokers.await_below_minimum()
            except AssertionError as error:
                self.failures.append(f"the ISR did not stay below the minimum: {error}")
        restored_s = time.monotonic()
        self._brokers.await_all_in_sync()
        return DisruptionTiming(started_s, restored_s)

    def _restart_after(self, node: Node, stopped_s: float, away_s: float) -> DisruptionTiming:
        time.sleep(away_s)
        node.start()
        if not self._brokers.is_replicated:
            return DisruptionTiming(stopped_s, time.monotonic())
        # The next outage must not stop the last in-sync replica.
        self._brokers.await_all_in_sync()
        return DisruptionTiming(stopped_s, stopped_s)


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


class DisruptionRunner:
    """Carries out the steps of the plan."""

    def __init__(
        self,
        brokers: BrokerLocator,
        replicas: Replicas,
        progress: ProgressSampler,
        publishing: PublisherProcess,
        *,
        relay: Relay | None,
        recovery_limit_s: float,
    ) -> None:
        self._outages = BrokerOutages(brokers)
        self._replicas = replicas
        self._progress = progress
        self._publishing = publishing
        self._relay = relay
        self._recovery_limit_s = recovery_limit_s
        self._failures: list[str] = []

    @property
    def failures(self) -> list[str]:
        """The disruptions that did not happen as planned."""
        return [*self._failures, *self._outages.failures]

    def run_step(self, step: Step, started_s: float) -> list[DisruptionOutcome]:
        """Carry out a step, and wait until all replicas are ready and the service has recovered.

        Args:
            step: The step.
            started_s: When the first event was sent, by the monotonic clock.
        """
        time.sleep(max(0.0, started_s + step.at_s - time.monotonic()))
        with ThreadPoolExecutor(len(step.disruptions)) as threads:
            timings = list(threads.map(self._disrupt, step.disruptions))
        self._replicas.wait_until_ready()
        return [
            DisruptionOutcome(
                disruption,
                at_s=timing.started_s - started_s,
                overlaps=len(timings) > 1,
                recovery_s=self._wait_for_recovery(timing),
            )
            for disruption, timing in zip(step.disruptions, timings, strict=True)
        ]

    def _disrupt(self, disruption: Disruption) -> DisruptionTiming:
        time.sleep(disruption.after_s)
        actions: dict[DisruptionKind, Callable[[str, float], DisruptionTiming]] = {
            DisruptionKind.KILL: self._kill,
            DisruptionKind.PAUSE: self._pause,
            DisruptionKind.TERMINATE: self._terminate,
            DisruptionKind.ADD: self._add,
            DisruptionKind.REMOVE: self._remove,
            DisruptionKind.CUT: self._cut,
            DisruptionKind.HOLD: self._hold,
            DisruptionKind.SLOW: self._slow,
            DisruptionKind.BROKER_RESTART: self._outages.restart,
            DisruptionKind.BROKER_KILL: self._outages.kill,
            DisruptionKind.BROKER_PAUSE: self._outages.pause,
            DisruptionKind.BELOW_MINIMUM: self._outages.keep_below_minimum,
        }
        return actions[disruption.kind](disruption.target, disruption.away_s)

    def _kill(self, name: str, away_s: float) -> DisruptionTiming:
        self._replicas.kill(name)
        killed_s = time.monotonic()
        time.sleep(away_s)
        self._replicas.start(name)
        return DisruptionTiming(killed_s, killed_s)

    def _pause(self, name: str, away_s: float) -> DisruptionTiming:
        service = self._replicas.running[name]
        service.pause()
        paused_s = time.monotonic()
        time.sleep(away_s)
        service.resume()
        return DisruptionTiming(paused_s, paused_s)

    def _terminate(self, name: str, away_s: float) -> DisruptionTiming:
        timing = self._remove(name, away_s)
        time.sleep(away_s)
        self._replicas.start(name)
        return timing

    def _add(self, name: str, _: float) -> DisruptionTiming:
        service = self._replicas.start(name)
        # A replica serves HTTP just before it joins the group.
        service.wait_for("it to serve HTTP", lambda: bool(service.logged("http server started")))
        joining_s = time.monotonic()
        self._replicas.wait_until_ready()
        return DisruptionTiming(joining_s, time.monotonic())

    def _remove(self, name: str, _: float) -> DisruptionTiming:
        requested_s = time.monotonic()
        self._replicas.terminate(name)
        return DisruptionTiming(requested_s, time.monotonic())

    def _cut(self, _: str, away_s: float) -> DisruptionTiming:
        assert self._relay is not None, "there is no relay"
        cut_s = time.monotonic()
        self._relay.cut()
        time.sleep(away_s)
        self._relay.reconnect()
        return DisruptionTiming(cut_s, cut_s)

    def _hold(self, name: str, _: float) -> DisruptionTiming:
        assert self._relay is not None, "there is no relay"
        held_s = time.monotonic()
        held = self._relay.hold_next_commit()
        if not (held.wait_until_due(HOLD_LIMIT_S) and held.wait_until_delivered()):
            self._failures.append(f"a held commit of {name} was not delivered within {HOLD_LIMIT_S:g} s")
        return DisruptionTiming(held_s, held_s)

    def _slow(self, name: str, away_s: float) -> DisruptionTiming:
        assert self._relay is not None, "there is no relay"
        slow_s = time.monotonic()
        if not self._relay.slow_coordinator("count", away_s).end(HOLD_LIMIT_S + away_s):
            self._failures.append(f"{name} did not replace its producer within {HOLD_LIMIT_S + away_s:.0f} s")
        return DisruptionTiming(slow_s, time.monotonic())

    def _wait_for_recovery(self, timing: DisruptionTiming) -> float | None:
        deadline = time.monotonic() + self._recovery_limit_s
        while True:
            has_ended = not self._publishing.is_running
            recovered_s = self._progress.recovered_s(timing.effective_s, has_ended=has_ended)
            if recovered_s is not None:
                return recovered_s - timing.started_s
            if time.monotonic() > deadline:
                return None
            time.sleep(SAMPLE_INTERVAL_S)
