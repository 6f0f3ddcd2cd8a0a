"""Samples the replicas' metrics that show how full their rounds are."""

from collections import Counter
from typing import Final

from tests.chaos.background_thread import BackgroundThread
from tests.chaos.replicas import Replicas

SAMPLE_INTERVAL_S: Final = 2.0
ROLES: Final = ("count", "windows")


class LoadSampler(BackgroundThread):
    """Samples the metrics of all replicas, in a thread, while the context is open.

    It waits for the answer of a paused replica, and misses what a replica does just before it ends.

    Attributes:
        most_panes: The most panes that a replica kept.
        least_limit: The least bound of what one commit wrote, over its most, by role.
        aborted: The number of transactions that were aborted, by role.
    """

    def __init__(self, replicas: Replicas) -> None:
        super().__init__("the sampler of metrics")
        self._replicas = replicas
        self.most_panes = 0
        self.least_limit = dict.fromkeys(ROLES, 1.0)
        self.aborted: Counter[str] = Counter()

    @property
    def summary(self) -> str:
        of_roles = (
            f"{role}: {self.aborted[role]} commits aborted, least commit limit {self.least_limit[role]:g}"
            for role in ROLES
        )
        return f"a replica kept at most {self.most_panes:,} panes; {'; '.join(of_roles)}"

    def _run(self) -> None:
        last: Counter[tuple[str, str]] = Counter()
        while not self._done.wait(SAMPLE_INTERVAL_S):
            for name, scrape in self._replicas.scrapes().items():
                self.most_panes = max(self.most_panes, int(scrape.total("driftgauge_shard_panes")))
                for role in ROLES:
                    limit = scrape.value("driftgauge_commit_limit_ratio", role=role)
                    self.least_limit[role] = min(self.least_limit[role], 1.0 if limit is None else limit)
                    aborted = int(scrape.total("driftgauge_commits_total", role=role, outcome="aborted"))
                    # A new process begins at zero.
                    known = last[name, role] if aborted >= last[name, role] else 0
                    self.aborted[role] += aborted - known
                    last[name, role] = aborted
