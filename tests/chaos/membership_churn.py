"""A replica that joins and leaves the consumer groups at a fixed interval, so that they rebalance."""

import time
from typing import Final

from tests.chaos.background_thread import BackgroundThread
from tests.chaos.replicas import Replicas
from tests.waiting import PATIENCE_S

INTERVAL_S: Final = 50.0
NAME: Final = "replica-5"
# Begin and end of the churn, as fractions of the run.
WITHIN: Final = (0.3, 0.6)


class MembershipChurn(BackgroundThread):
    """Starts and terminates a replica in turn, every `INTERVAL_S`; a context manager.

    It does nothing if its part of the run is shorter than two intervals.

    Attributes:
        rebalances: How many times the replica has joined or left.
        min_rebalances: The number required at the end of a run.
    """

    def __init__(self, replicas: Replicas, seconds: float) -> None:
        super().__init__("the churn of members", end_s=PATIENCE_S)
        self._replicas = replicas
        self._within_s = tuple(part * seconds for part in WITHIN)
        self.rebalances = 0
        begin_s, end_s = self._within_s
        self.min_rebalances = int((end_s - begin_s) / INTERVAL_S) if end_s - begin_s >= 2 * INTERVAL_S else 0

    def _run(self) -> None:
        begin_s, end_s = (time.monotonic() + within_s for within_s in self._within_s)
        if not self.min_rebalances:
            return
        is_running = False
        while not self._done.wait(max(0.0, begin_s + self.rebalances * INTERVAL_S - time.monotonic())):
            if time.monotonic() >= end_s:
                break
            if is_running:
                self._replicas.terminate(NAME)
            else:
                self._replicas.start(NAME)
            is_running = not is_running
            self.rebalances += 1
        if is_running:
            self._replicas.terminate(NAME)
