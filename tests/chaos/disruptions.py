"""Doing to the service and its brokers what the plan says, and seeing how long they take to recover."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.chaos.brokers import Brokers
from tests.chaos.outages import Effect, Outages
from tests.chaos.plan import Disruption, Step
from tests.chaos.profiles import DisruptionKind
from tests.chaos.publishing import Publishing
from tests.chaos.recovery import EVERY_S, CountingProgress
from tests.chaos.replicas import Replicas
from tests.kafka.relay import Relay

RECOVERY_LIMIT_S: Final = 60.0
# A commit comes every second, and the next one soon after.
HELD_S: Final = 30.0


@dataclass(frozen=True)
class DisruptionOutcome:
    """One disruption and what came of it.

    Attributes:
        disruption: What was done.
        at_s: Time from the first event.
        overlaps: Another was done at about the same time.
        recovery_s: From doing it until every partition was counted further; None: not within the limit.
    """

    disruption: Disruption
    at_s: float
    overlaps: bool
    recovery_s: float | None


class Disruptor:
    """Carries out steps of the plan."""

    def __init__(
        self,
        brokers: Brokers,
        replicas: Replicas,
        progress: CountingProgress,
        publishing: Publishing,
        relay: Relay | None = None,
    ) -> None:
        self._outages = Outages(brokers)
        self._replicas = replicas
        self._progress = progress
        self._publishing = publishing
        self._relay = relay
        self._failures: list[str] = []

    @property
    def failures(self) -> list[str]:
        """What could not be done as it was to be."""
        return [*self._failures, *self._outages.failures]

    def carry_out(self, step: Step, started_s: float) -> list[DisruptionOutcome]:
        """Do what the step says, wait until it is recovered from and every replica is ready again.

        Args:
            step: What to do.
            started_s: When the first event was sent, by the monotonic clock.
        """
        time.sleep(max(0.0, started_s + step.at_s - time.monotonic()))
        with ThreadPoolExecutor(len(step.disruptions)) as threads:
            effects = list(threads.map(self._do, step.disruptions))
        self._replicas.wait_until_ready()
        return [
            DisruptionOutcome(
                disruption,
                at_s=effect.begun_s - started_s,
                overlaps=len(effects) > 1,
                recovery_s=self._wait_for_recovery(effect),
            )
            for disruption, effect in zip(step.disruptions, effects, strict=True)
        ]

    def _do(self, disruption: Disruption) -> Effect:
        time.sleep(disruption.after_s)
        doing: dict[DisruptionKind, Callable[[str, float], Effect]] = {
            DisruptionKind.KILL: self._kill,
            DisruptionKind.PAUSE: self._pause,
            DisruptionKind.TERMINATE: self._terminate,
            DisruptionKind.ADD: self._add,
            DisruptionKind.REMOVE: self._remove,
            DisruptionKind.CUT: self._cut,
            DisruptionKind.HOLD: self._hold,
            DisruptionKind.BROKER_RESTART: self._outages.restart,
            DisruptionKind.BROKER_KILL: self._outages.kill,
            DisruptionKind.BROKER_PAUSE: self._outages.pause,
            DisruptionKind.BELOW_MINIMUM: self._outages.hold_below_minimum,
        }
        return doing[disruption.kind](disruption.target, disruption.away_s)

    def _kill(self, name: str, away_s: float) -> Effect:
        self._replicas.kill(name)
        killed_s = time.monotonic()
        time.sleep(away_s)
        self._replicas.start(name)
        return Effect(killed_s, killed_s)

    def _pause(self, name: str, away_s: float) -> Effect:
        service = self._replicas.running[name]
        service.pause()
        paused_s = time.monotonic()
        time.sleep(away_s)
        service.resume()
        return Effect(paused_s, paused_s)

    def _terminate(self, name: str, away_s: float) -> Effect:
        effect = self._remove(name, away_s)
        time.sleep(away_s)
        self._replicas.start(name)
        return effect

    def _add(self, name: str, _: float) -> Effect:
        service = self._replicas.start(name)
        # It serves HTTP just before it joins the group.
        service.wait_for("it to serve HTTP", lambda: bool(service.logged("http server started")))
        joining_s = time.monotonic()
        self._replicas.wait_until_ready()
        return Effect(joining_s, time.monotonic())

    def _remove(self, name: str, _: float) -> Effect:
        asked_s = time.monotonic()
        self._replicas.terminate(name)
        return Effect(asked_s, time.monotonic())

    def _cut(self, _: str, away_s: float) -> Effect:
        assert self._relay is not None, "there is no relay"
        cut_s = time.monotonic()
        self._relay.cut()
        time.sleep(away_s)
        self._relay.mend()
        return Effect(cut_s, cut_s)

    def _hold(self, name: str, _: float) -> Effect:
        assert self._relay is not None, "there is no relay"
        held_s = time.monotonic()
        held = self._relay.hold_a_commit()
        if not (held.wait_until_due(HELD_S) and held.wait_until_delivered()):
            self._failures.append(f"a held commit of {name} was not delivered within {HELD_S:g} s")
        return Effect(held_s, held_s)

    def _wait_for_recovery(self, effect: Effect) -> float | None:
        deadline = time.monotonic() + RECOVERY_LIMIT_S
        while True:
            has_ended = not self._publishing.is_running
            recovered_s = self._progress.recovered_s(effect.effective_s, has_ended=has_ended)
            if recovered_s is not None:
                return recovered_s - effect.begun_s
            if time.monotonic() > deadline:
                return None
            time.sleep(EVERY_S)
