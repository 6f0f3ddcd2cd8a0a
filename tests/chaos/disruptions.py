"""Doing to the service and its broker what the plan says, and seeing how long they take to recover."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.chaos.plan import Disruption, Kind, Step
from tests.chaos.recovery import EVERY_S, Progress
from tests.chaos.replicas import Replicas
from tests.kafka.broker import Broker

RECOVERY_LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class Effect:
    """What a disruption did; moments of the monotonic clock.

    Attributes:
        begun_s: When it was done.
        effective_s: From when on the group must count without what was taken, or with what was added:
            a killed or stopped replica is gone at once, one that is asked to go when it has gone, an
            added one is there when it is ready, and a broker's outage is over when it answers.
    """

    begun_s: float
    effective_s: float


@dataclass(frozen=True)
class Outcome:
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

    def __init__(self, broker: Broker, replicas: Replicas, progress: Progress) -> None:
        self._broker = broker
        self._replicas = replicas
        self._progress = progress

    def carry_out(self, step: Step, started_s: float) -> list[Outcome]:
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
            Outcome(
                disruption,
                at_s=effect.begun_s - started_s,
                overlaps=len(effects) > 1,
                recovery_s=self._wait_for_recovery(effect),
            )
            for disruption, effect in zip(step.disruptions, effects, strict=True)
        ]

    def _do(self, disruption: Disruption) -> Effect:
        time.sleep(disruption.after_s)
        doing: dict[Kind, Callable[[str, float], Effect]] = {
            Kind.KILL: self._kill,
            Kind.PAUSE: self._pause,
            Kind.TERMINATE: self._terminate,
            Kind.ADD: self._add,
            Kind.REMOVE: self._remove,
            Kind.BROKER_RESTART: self._restart_broker,
            Kind.BROKER_KILL: self._kill_broker,
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

    def _restart_broker(self, _: str, away_s: float) -> Effect:
        stopped_s = time.monotonic()
        self._broker.stop()
        return self._bring_back(stopped_s, away_s)

    def _kill_broker(self, _: str, away_s: float) -> Effect:
        killed_s = time.monotonic()
        self._broker.kill()
        return self._bring_back(killed_s, away_s)

    def _bring_back(self, gone_s: float, away_s: float) -> Effect:
        time.sleep(away_s)
        self._broker.restart()
        return Effect(gone_s, time.monotonic())

    def _wait_for_recovery(self, effect: Effect) -> float | None:
        deadline = time.monotonic() + RECOVERY_LIMIT_S
        while (recovered_s := self._progress.recovered_s(effect.effective_s)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(EVERY_S)
        return recovered_s - effect.begun_s
