"""How windows and their verdicts look, and what every panel of them has to say."""

from collections.abc import Mapping

from deploy.generate.grafana.panels import Json, by_name
from deploy.generate.grafana.queries import VERDICT_CODES

from driftgauge.core.result import Verdict

__all__ = ["LATER", "UNSCORED", "VERDICT_LINES", "VERDICT_NAMES"]

LATER = (
    " A window is drawn from when it was closed: later than the time it tells of by its length, the allowed"
    " disorder and about a second."
)
UNSCORED = " Nothing is drawn where the newest window was not scored."

_COLOURS: Mapping[str, str] = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.DRIFT: "red",
    Verdict.INSUFFICIENT: "#8e8e8e",
    Verdict.INCOMPLETE: "purple",
}

VERDICT_NAMES: Mapping[float, tuple[str, str]] = {
    code: (verdict, _COLOURS[verdict]) for verdict, code in VERDICT_CODES.items()
}
"""The text and colour of each code."""

VERDICT_LINES: tuple[Json, ...] = tuple(
    by_name(verdict, color={"mode": "fixed", "fixedColor": colour}) for verdict, colour in _COLOURS.items()
)
"""The colours of series that are named after verdicts."""
