"""Parses the description of a drift alert and compares its facts with window results."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["DriftDescription"]

# Alerts name the three clusters that contribute most.
_MOVERS = 3

# Descriptions round to three digits, and percentages to one after the point.
_DIGITS = 5e-3
_PERCENT = 0.051
_NUMBER = r"\d[\d.]*(?:e[-+]\d+)?"
_DESCRIPTION = re.compile(
    r"Stream (?P<stream>\S+), window of (?P<window>\S+) that ended at (?P<end>[^:]+:\d\d:\d\d \+0000) UTC: "
    rf"divergence (?P<divergence>{_NUMBER}), of which (?P<noise>{_NUMBER}) is noise\. "
    r"Kind: (?P<kind>\w+) \((?:[^()]|\([^)]+\))+\), [\d.]+% of the evidence\. "
    r"Top movers:(?P<movers>(?:;? cluster \d+(?: \([^)]+\))? [\d.]+ % to [\d.]+ %)+)\. "
    r"See on the dashboard when the drift began, and look for a change at that time\."
)
_MOVER = re.compile(r"cluster (\d+)(?: \(([^)]+)\))? ([\d.]+) % to ([\d.]+) %")


@dataclass(frozen=True)
class Mover:
    """What a description says of a cluster: its name, and its shares in the baseline and now, in percent."""

    name: str | None
    before: float
    now: float


@dataclass(frozen=True)
class DriftDescription:
    """The facts in a description.

    Attributes:
        stream: The stream that drifts.
        window: The window size.
        end: The end of the window.
        divergence: The divergence from the baseline.
        noise: The noise floor.
        movers: The clusters that contribute most.
    """

    stream: str
    window: str
    end: datetime
    divergence: float
    noise: float
    movers: Mapping[int, Mover]

    @classmethod
    def parse(cls, description: str) -> "DriftDescription":
        """Return the facts of a description that has every part."""
        match = _DESCRIPTION.fullmatch(description)
        assert match is not None, description
        return cls(
            match["stream"],
            match["window"],
            datetime.fromisoformat(match["end"]),
            float(match["divergence"]),
            float(match["noise"]),
            {
                int(cluster): Mover(name or None, float(before), float(now))
                for cluster, name, before, now in _MOVER.findall(match["movers"])
            },
        )

    def mismatches(self, results: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the facts that agree with no result, to the digits of the description.

        Prometheus evaluates the queries of a description one by one while windows close, so each fact may
        come from another window.
        """
        confirmed = {
            "divergence": any(_is(self.divergence, each["js_divergence"]) for each in results),
            "noise": any(_is(self.noise, each["noise_floor"]) for each in results),
            "movers": any(list(self.movers) == _foremost(each) for each in results),
            **{
                f"cluster {cluster}": any(_describes(mover, each["clusters"][cluster]) for each in results)
                for cluster, mover in self.movers.items()
            },
        }
        return [fact for fact, is_confirmed in confirmed.items() if not is_confirmed]


def _foremost(result: Mapping[str, Any]) -> list[int]:
    contributions = {cluster["id"]: cluster["js_contribution"] for cluster in result["clusters"]}
    return sorted(contributions, key=lambda cluster: -contributions[cluster])[:_MOVERS]


def _describes(mover: Mover, cluster: Mapping[str, Any]) -> bool:
    return (
        mover.name == cluster["name"]
        and abs(mover.before - 100 * cluster["baseline_share"]) < _PERCENT
        and abs(mover.now - 100 * cluster["share"]) < _PERCENT
    )


def _is(stated: float, value: float) -> bool:
    return math.isclose(stated, value, rel_tol=_DIGITS)
