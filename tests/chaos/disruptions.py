"""Carries out the planned disruptions of replicas and brokers, and measures the recovery times."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.chaos.broker_locator import BrokerLocator
from tests.chaos.broker_outages import BrokerOutages, DisruptionTiming
from tests.chaos.plan import Disruption, Step
from tests.chaos.profiles import DisruptionKind
from tests.chaos.publisher import PublisherProcess
from tests.chaos.recovery import SAMPLE_INTERVAL_S, ProgressSampler
from tests.chaos.replicas import Replicas
from tests.harness.relay import Relay

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
