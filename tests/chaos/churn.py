"""A replica that joins and leaves again and again, so that the groups rebalance at an even pace."""

import time
from typing import Final

from tests.chaos.background import Background
from tests.chaos.replicas import Replicas

EVERY_S: Final = 50.0
NAME: Final = "replica-5"
# The part of the run in which it does.
WITHIN: Final = (0.3, 0.6)


class Churn(Background):
    """Starts a replica, ends it, starts it, each `EVERY_S` after the other; a context manager.

    Where the part of the run is shorter than two such times it does nothing.

    Attributes:
        rebalances: How often it has joined or left.
        least: How often it must have, at the end of a run.
    """

    def __init__(self, replicas: Replicas, seconds: float) -> None:
        super().__init__()
        self._replicas = replicas
        self._within_s = tuple(part * seconds for part in WITHIN)
        self.rebalances = 0
        begin_s, end_s = self._within_s
        self.least = int((end_s - begin_s) / EVERY_S) if end_s - begin_s >= 2 * EVERY_S else 0

    def _run(self) -> None:
        begin_s, end_s = (time.monotonic() + within_s for within_s in self._within_s)
        if not self.least:
            return
        is_there = False
        while not self._done.wait(max(0.0, begin_s + self.rebalances * EVERY_S - time.monotonic())):
            if time.monotonic() >= end_s:
                break
            if is_there:
                self._replicas.terminate(NAME)
            else:
                self._replicas.start(NAME)
            is_there = not is_there
            self.rebalances += 1
        if is_there:
            self._replicas.terminate(NAME)
