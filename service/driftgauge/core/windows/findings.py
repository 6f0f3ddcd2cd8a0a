"""The findings of a window by statistic."""

from typing import Any

from driftgauge.core.statistics.statistic import FindingT, Statistic

__all__ = ["Findings"]


class Findings(dict[str, Any]):
    """The findings of a window by the statistic's name, of those statistics that were tested."""

    def of(self, statistic: Statistic[FindingT]) -> FindingT:
        """Return the finding of a statistic.

        Raises:
            KeyError: It was not tested.
        """
        finding: FindingT = self[statistic.name]
        return finding
