"""The table of states: what a stream, or a window by its verdict, is said to be, everywhere."""

from typing import Literal, NamedTuple, get_args

__all__ = ["STATES", "URGENCY", "ConcernName", "State", "StateName"]

ConcernName = Literal[
    "misfit",
    "refused",
    "late",
    "incomplete",
    "silent",
    "behind",
    "insufficient",
    "unclear",
    "warming_up",
    "waiting",
]
StateName = Literal["drift", "segment", "warning", ConcernName, "ok"]
URGENCY = get_args(StateName)
"""The states of streams, the most urgent first; `segment` is drift of a segment alone."""


class State(NamedTuple):
    """What is said of a state.

    Attributes:
        words: The state as a headline.
        counted: The same after the number of streams that are in it.
        symbol: Its sign, for eyes that do not tell its colour apart.
        colour: The state whose colour it has: grey is for what concludes nothing.
        runbook: The name of its runbook and alert; empty if nothing is wrong. Slow drift has one of its
            own.
    """

    words: str
    counted: str
    symbol: str
    colour: StateName
    runbook: str


_INCONCLUSIVE = "DriftgaugeWindowsInconclusive"
STATES: dict[str, State] = {
    "drift": State("Drift", "with drift", "▲", "drift", "DriftgaugeDrift"),
    "segment": State("A segment drifts", "with drift of a segment", "△", "segment", "DriftgaugeSegmentDrift"),
    "warning": State("Possible drift", "with possible drift", "!", "warning", "DriftgaugeDrift"),
    "misfit": State("Baseline does not fit", "whose baseline does not fit", "≠", "misfit", _INCONCLUSIVE),
    "refused": State(
        "Events refused", "whose events are refused", "✗", "warning", "DriftgaugeRecordsRejected"
    ),
    "late": State("Events too late", "whose events come too late", "»", "warning", _INCONCLUSIVE),
    "incomplete": State("Incomplete", "incomplete", "◌", "incomplete", _INCONCLUSIVE),
    "silent": State("Silent", "silent", "–", "insufficient", "DriftgaugeWindowsOverdue"),  # noqa: RUF001 - a sign
    "behind": State("Behind", "behind", "«", "insufficient", "DriftgaugeLagGrowing"),
    "insufficient": State("Too few events", "with too few events", "…", "insufficient", _INCONCLUSIVE),
    "unclear": State("A segment is unclear", "with an unclear segment", "?", "insufficient", _INCONCLUSIVE),
    "warming_up": State("Warming up", "warming up", "~", "insufficient", _INCONCLUSIVE),
    "waiting": State(
        "No window yet", "without a window yet", "·", "insufficient", "DriftgaugeWindowsOverdue"
    ),
    "ok": State("No drift found", "without drift found", "✓", "ok", ""),
}
"""The states by name, the most urgent first; a window's verdict has the words of its state."""
