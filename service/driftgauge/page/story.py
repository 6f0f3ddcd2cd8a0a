"""What happened to a stream, in sentences: whether it drifts, since when, how sure that is, and where."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.durations import format_duration
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.duplicates import DUPLICATES
from driftgauge.core.statistics.novelty import NOVELTY, main_cluster
from driftgauge.page.summary import VERDICTS
from driftgauge.page.words import (
    as_sentence,
    describe_odds,
    format_moment,
    format_number,
    format_percent,
    name_first,
)
from driftgauge.records.window_record import ClusterRecord, WindowRecord

__all__ = ["ALARMS", "Run", "cluster_name", "current_run", "tell", "whole_run"]

ALARMS = ("warning", "drift")
"""The verdicts that say that the events changed."""

_CONCLUSIVE = ("ok", "misfit", *ALARMS)
# A cluster that moved by less is not worth a sentence.
_NAMED_PART = 0.1
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Run:
    """The last windows of a series that say the same.

    Attributes:
        verdict: The verdict of the newest window.
        windows: The number of windows with this verdict, or an alarm where it is an alarm.
        since_ms: The start of the first of them, event time, ms.
        before: Whether there are windows before them.
        until_ms: The start of the window that ended the run, event time, ms; None while it goes on.
    """

    verdict: str
    windows: int
    since_ms: int
    before: bool
    until_ms: int | None = None


def current_run(rows: NDArray[np.void]) -> Run | None:
    """Return the run that the last of n windows, (n,) of `SUMMARY`, ends; None without windows.

    Windows without a conclusion, which are incomplete or have too few events, do not end a run.
    """
    if not len(rows):
        return None
    verdicts = [VERDICTS[number] for number in rows["verdict"].tolist()]
    last = verdicts[-1]
    same = ALARMS if last in ALARMS else (last,)
    first, windows = len(rows) - 1, 0
    for at in range(len(rows) - 1, -1, -1):
        if verdicts[at] in same:
            first, windows = at, windows + 1
        elif last not in _CONCLUSIVE or verdicts[at] in _CONCLUSIVE:
            break
    return Run(last, windows, int(rows[first]["start_ms"]), first > 0)


def whole_run(rows: NDArray[np.void], at: int) -> Run:
    """Return the run of alarms that holds one of n windows, (n,) of `SUMMARY`.

    Without an alarm in that window, the run is the one that ends with it.
    """
    run = current_run(rows[: at + 1])
    assert run is not None  # noqa: S101 - it ends with this window
    if run.verdict not in ALARMS:
        return run
    last, until_ms = at, None
    for later in range(at + 1, len(rows)):
        verdict = VERDICTS[rows["verdict"][later]]
        if verdict in ALARMS:
            last = later
        elif verdict in _CONCLUSIVE:
            until_ms = int(rows["start_ms"][later])
            break
    whole = current_run(rows[: last + 1])
    assert whole is not None  # noqa: S101 - it holds this window
    return replace(whole, until_ms=until_ms)


def tell(record: WindowRecord, run: Run, size_ms: int) -> list[str]:
    """Return the story of a window in a few sentences, and of the run that it ends."""
    if record.verdict == "incomplete":
        return [*_why_incomplete(record), "Nothing is concluded from an incomplete window."]
    if record.verdict == "insufficient" or record.js_divergence is None or record.p_value is None:
        return [f"The window has {record.count:,} events, too few to be scored."]
    if record.verdict == "ok":
        how = [*_small(record), _how_much(record), *_could_have_seen(record)]
        return [_since(record, run, size_ms), *how, *_segments(record)]
    if record.verdict == "misfit":
        return [
            "The windows of the warm-up differ from the baseline: it does not fit the stream, or the stream "
            "had drifted before the warm-up ended. Since then nothing has changed.",
            *_segments(record),
        ]
    # Without a kind the window is not significant by itself.
    sure = [_how_sure(record)] if record.kind else [*_by_earlier(record), *_slow(record)]
    what = " ".join([*_what(record), _how_much(record)])
    where = _where(record) if record.kind else []
    return [_since(record, run, size_ms), *sure, what, *where, *_segments(record)]


def cluster_name(cluster: ClusterRecord) -> str:
    """Return "cluster 7 (truck)", or "cluster 7" where it has no name."""
    return f"cluster {cluster.id}" + (f" ({cluster.name})" if cluster.name else "")


def _why_incomplete(record: WindowRecord) -> list[str]:
    reasons = []
    if record.incomplete:
        named = name_first([f"{each.topic}[{each.partition}]" for each in record.incomplete], 3)
        reasons.append(f"The events of {named} are not all read.")
    if record.events_lost:
        reasons.append("Kafka deleted events before they were read.")
    if record.counted_twice:
        reasons.append("Some events may have been counted twice.")
    elif record.incomplete_reason is not None:
        reasons.append(f"The counts are in doubt: {record.incomplete_reason.replace('_', ' ')}.")
    return reasons


def _since(record: WindowRecord, run: Run, size_ms: int) -> str:
    windows = f"{run.windows:,} windows of {format_duration(size_ms)}"
    if record.verdict == "ok":
        return (
            f"The last {windows} look like the baseline."
            if run.windows > 1
            else "The window looks like the baseline."
        )
    since = format_moment(run.since_ms)
    length = f" ({windows})" if run.windows > 1 else ""
    if run.until_ms is not None:
        until = format_moment(run.until_ms)
        return f"From {since} to {until} the events of {record.stream} differed from the baseline{length}."
    opening = "Since" if run.before else "Since the first window shown,"
    return f"{opening} {since} the events of {record.stream} differ from the baseline{length}."


def _how_sure(record: WindowRecord) -> str:
    assert record.p_value is not None  # noqa: S101 - the window is scored
    odds = describe_odds(record.p_value)
    sure = f"Chance alone makes a window so extreme {odds}"
    if record.calibrated:
        return f"{sure}."
    return (
        f"{sure} if events are independent; how much bursts vary these windows is not measured, so it may be "
        "more often."
    )


def _by_earlier(record: WindowRecord) -> list[str]:
    if record.verdict != "drift":
        return []
    return ["This window by itself does not; the two before it differ significantly, and by much."]


def _slow(record: WindowRecord) -> list[str]:
    slow = record.slow_drift
    if slow is None or slow.statistic < slow.limit:
        return []
    numbers = f"{format_number(slow.statistic)}, and {format_number(slow.limit)} is the limit"
    return [f"Small evidence has built up over many windows ({numbers}); no single one need show it."]


def _segments(record: WindowRecord) -> list[str]:
    drifting = [f"{each.key} = {each.value}" for each in record.segments if each.verdict in ALARMS]
    if not drifting:
        return []
    return [f"Segments that differ by themselves: {name_first(drifting, _MAX_NAMED)}."]


def _could_have_seen(record: WindowRecord) -> list[str]:
    least = (record.detectable or {}).get(DIVERGENCE.name)
    if least is None:
        return []
    return [
        f"Four of five windows with a change of mix of {format_number(least)} or more would have been found."
    ]


def _small(record: WindowRecord) -> list[str]:
    if record.kind is None:
        return []
    return ["It differs by more than chance makes, but by less than what counts as large."]


def _what(record: WindowRecord) -> list[str]:
    if record.kind is None or record.evidence is None or record.findings is None:
        return []
    share = format_percent(record.evidence.get(record.kind))
    words = registry.find_kind(record.kind).sentence
    if record.kind == NOVELTY.kind.name:
        beyond = format_percent(record.findings[NOVELTY.name].value)
        words = f"{beyond} of the events, beyond the expected ones, lie where the baseline has none"
        contributions = [cluster.novelty_contribution or 0.0 for cluster in record.clusters]
        if (cluster := main_cluster(np.array(contributions))) is not None:
            words = f"{words}, mostly in {cluster_name(record.clusters[cluster])}"
    if record.kind == DUPLICATES.kind.name:
        share_of_item = format_percent(record.findings[DUPLICATES.name].value)
        words = f"events repeat as if one item were {share_of_item} of them"
    return [f"{record.kind.capitalize()}: {words} ({share} of the evidence)."]


def _how_much(record: WindowRecord) -> str:
    noise = format_number(record.noise_floor or 0.0)
    return f"The divergence is {format_number(record.js_divergence)}; noise alone makes {noise}."


def _where(record: WindowRecord) -> list[str]:
    if not record.js_divergence:
        return []
    moved = [record.clusters[cluster] for cluster in record.movers if cluster < len(record.clusters)]
    named = [
        cluster for cluster in moved if (cluster.js_contribution or 0.0) >= _NAMED_PART * record.js_divergence
    ]
    if not named:
        return []
    parts = [
        f"{cluster_name(cluster)} went from {format_percent(cluster.baseline_share)} of the events to "
        f"{format_percent(cluster.share)}"
        for cluster in named
    ]
    return [as_sentence(", ".join(parts))]
