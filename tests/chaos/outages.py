"""Outages of brokers: what each does, and from when on the service must count in spite of it."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.chaos.brokers import Brokers
from tests.chaos.profiles import BrokerRole
from tests.kafka.node import Node


@dataclass(frozen=True)
class Effect:
    """What a disruption did; moments of the monotonic clock.

    Attributes:
        begun_s: When it was done.
        effective_s: From when on the group must count without what was taken, or with what was added:
            a killed or stopped replica is gone at once, one that is asked to go when it has gone, an
            added one is there when it is ready. A broker that others stand in for is gone at once as
            well; the outage of one without which nothing goes on is over when it answers.
    """

    begun_s: float
    effective_s: float


class Outages:
    """Takes brokers away by their roles, and brings them back.

    Attributes:
        failures: What could not be done as it was to be.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.failures: list[str] = []

    def restart(self, role: str, away_s: float) -> Effect:
        node = self._brokers.find(BrokerRole(role))
        stopped_s = time.monotonic()
        node.stop()
        return self._bring_back(node, stopped_s, away_s)

    def kill(self, role: str, away_s: float) -> Effect:
        node = self._brokers.find(BrokerRole(role))
        killed_s = time.monotonic()
        node.kill()
        return self._bring_back(node, killed_s, away_s)

    def pause(self, role: str, away_s: float) -> Effect:
        """Suspend a broker; its connections stay, and nobody answers on them."""
        node = self._brokers.find(BrokerRole(role))
        paused_s = time.monotonic()
        with ExitStack() as paused:
            node.pause()
            paused.callback(node.resume)
            time.sleep(away_s)
        self._brokers.await_all_in_sync()
        return Effect(paused_s, paused_s)

    def hold_below_minimum(self, _: str, away_s: float) -> Effect:
        """Stop all brokers but one, of two that a write needs; the controller goes on."""
        begun_s = time.monotonic()
        with ExitStack() as gone:
            for node in self._brokers.all_but_one():
                gone.callback(node.start)
                node.stop()
            self._brokers.await_below_minimum()
            time.sleep(away_s)
            try:
                self._brokers.await_below_minimum()
            except AssertionError as error:
                self.failures.append(f"the ISR did not stay below the minimum: {error}")
        back_s = time.monotonic()
        self._brokers.await_all_in_sync()
        return Effect(begun_s, back_s)

    def _bring_back(self, node: Node, gone_s: float, away_s: float) -> Effect:
        time.sleep(away_s)
        node.start()
        if not self._brokers.others_stand_in:
            return Effect(gone_s, time.monotonic())
        # The next one to go must not be the last that is in sync.
        self._brokers.await_all_in_sync()
        return Effect(gone_s, gone_s)
