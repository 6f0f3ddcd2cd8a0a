"""What the description of a drift alert says, and what it must say by a window's result."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Told"]

# Alerts name the three that contribute most.
_MOVERS = 3

# Of three digits the last is rounded.
_DIGITS = 5e-3
_NUMBER = r"\d[\d.]*(?:e[-+]\d+)?"
_TOLD = re.compile(
    r"Stream (?P<stream>\S+), window of (?P<window>\S+) that ended at (?P<end>[^:]+:\d\d:\d\d \+0000) UTC: "
    rf"divergence (?P<divergence>{_NUMBER}), of which (?P<noise>{_NUMBER}) is noise\. "
    rf"Top movers:(?P<movers>(?: cluster \d+ \({_NUMBER}\))+)\."
)
_MOVER = re.compile(rf"cluster (\d+) \(({_NUMBER})\)")


@dataclass(frozen=True)
class Told:
    """The facts in a description.

    Attributes:
        stream: Which stream drifts.
        window: Which size of its windows.
        end: When the window ended.
        divergence: How far it is from the baseline.
        noise: How much of that is noise.
        movers: The clusters that contribute most, and how much.
    """

    stream: str
    window: str
    end: datetime
    divergence: float
    noise: float
    movers: Mapping[int, float]

    @classmethod
    def parse(cls, description: str) -> "Told":
        """Read a description, every part of which must be there."""
        told = _TOLD.fullmatch(description)
        assert told is not None, description
        return cls(
            told["stream"],
            told["window"],
            datetime.fromisoformat(told["end"]),
            float(told["divergence"]),
            float(told["noise"]),
            {int(cluster): float(size) for cluster, size in _MOVER.findall(told["movers"])},
        )

    def faults(self, results: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the facts that none of some windows' results bears out, to the digits that are told.

        The texts of a description are rendered one by one while windows go on closing, so that one fact may
        be of another window than the next.
        """
        borne_out = {
            "divergence": any(_is(self.divergence, each["js_divergence"]) for each in results),
            "noise": any(_is(self.noise, each["noise_floor"]) for each in results),
            "movers": any(self._names_movers_of(each) for each in results),
        }
        return [fact for fact, is_so in borne_out.items() if not is_so]

    def _names_movers_of(self, result: Mapping[str, Any]) -> bool:
        contributions = {cluster["id"]: cluster["js_contribution"] for cluster in result["clusters"]}
        foremost = sorted(contributions, key=lambda cluster: -contributions[cluster])[:_MOVERS]
        return list(self.movers) == foremost and all(
            _is(size, contributions[cluster]) for cluster, size in self.movers.items()
        )


def _is(told: float, value: float) -> bool:
    return math.isclose(told, value, rel_tol=_DIGITS)
