"""Broker outages, each with the time from which the service must count again."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.chaos.broker_locator import BrokerLocator
from tests.chaos.profiles import BrokerRole
from tests.harness.node import Node


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
