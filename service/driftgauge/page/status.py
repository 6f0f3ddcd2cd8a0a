"""The status of a stream: what the results of all its window sizes say now, and how far to trust them.

Three things are kept apart: the alarm, the last conclusion, and the health of the data, each with an age.
Nothing here knows a clock or HTTP: the time is an argument.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, computed_field

from driftgauge.config.stream import SmallestDrift, StreamSettings
from driftgauge.core.durations import format_duration
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, fewest_windows
from driftgauge.page.history import SegmentTrace
from driftgauge.page.service_watch import ServiceFault, ServiceStatus
from driftgauge.page.states import STATES, URGENCY, ConcernName, StateName
from driftgauge.page.summary import (
    CALIBRATED,
    DETECTABLE,
    EVENTS_LOST,
    FAULTS,
    NO_NAMES,
    SEGMENT_DRIFT,
    SEGMENT_OK,
    UNKNOWN,
    VERDICTS,
    Fault,
    Names,
    Series,
    kind_of,
    number_of,
)
from driftgauge.page.summary_record import Count, Record, SummaryRecord, UtcMs, of_result, summary_record
from driftgauge.page.words import LEAST_P, format_moment, format_number, format_percent, name_first
from driftgauge.records.window_record import VerdictName
from driftgauge.statistic_words import WORDS

__all__ = [
    "ALARMS",
    "CONCLUSIVE",
    "LATE_SHARE",
    "LEAST_LATE",
    "Alarm",
    "Concern",
    "Run",
    "SizeFacts",
    "SizeStatus",
    "StreamStatus",
    "as_told",
    "read_facts",
    "stream_status",
    "whole_run",
]

ALARMS = ("warning", "drift")
"""The verdicts that say that the events changed."""

LATE_SHARE = 0.05
"""The share of late events in those accepted above which windows say too little of a stream."""

LEAST_LATE = 20
"""The number of late events from which the share counts; both hold for the alert as well."""

_ALARMING = [VERDICTS.index(verdict) for verdict in ALARMS]
_OK = [VERDICTS.index("ok"), VERDICTS.index("segment")]
_MISFIT = VERDICTS.index("misfit")
CONCLUSIVE = [*_OK, _MISFIT, *_ALARMING]
"""The numbers of the verdicts that conclude something."""

_INCOMPLETE, _INSUFFICIENT = VERDICTS.index("incomplete"), VERDICTS.index("insufficient")
# A single alarm at the start says little; a baseline that fits has windows that are well.
_MISFIT_WINDOWS = 3
_DAY_MS = 86_400_000
_FEWEST = f"{MIN_WINDOWS} of a length, or {fewest_windows(_DAY_MS)} of a day or longer"
# Longer windows that are well cover the time for which shorter ones say too little.
_COVERED: tuple[StateName, ...] = ("insufficient", "unclear")
_MAX_NAMED = 3
# What a fault of the service itself may be the cause of.
_HELD_UP = ("incomplete", "silent", "behind", "waiting")
_LIMIT = "no number of events suffices, since the baseline is the limit"
_USUAL = 100
# The rank correlation of five windows may be 2 standard deviations, that of fewer may not.
_LEAST_COURSE, _BEYOND_CHANCE = 6, 2.0
# An alarm is drift while any of so many of its windows is.
_RECENT = 6
_NO_TRACES: Mapping[tuple[str, str], SegmentTrace] = {}
_NAMES_NOTHING: Mapping[int, Names] = {}
_NOTHING_KNOWN = ServiceStatus()


@dataclass(frozen=True, slots=True)
class Run:
    """Windows of a series that say the same, one after the other.

    Attributes:
        verdict: The verdict of the last of them.
        windows: The number of windows with this verdict, or an alarm if it is an alarm.
        since_ms: The start of the first of them, event time, ms.
        after_ms: The start of the last window before them with another conclusion, event time, ms; None
            without any.
        until_ms: The start of the window that ended the run, event time, ms; None while it goes on.
        few: The number of windows among them that have too few events.
    """

    verdict: str
    windows: int
    since_ms: int
    after_ms: int | None
    until_ms: int | None = None
    few: int = 0


class Concern(Record):
    """A fault of a stream's data."""

    size: str = Field(serialization_alias="window")
    """The windows' length, such as 1h; empty for refused, which concerns all."""

    name: ConcernName
    """misfit: every window differs from the baseline. refused: so are many of the records read in the last
    hour. late: many accepted events of a day came too late for their window. incomplete: partitions are
    missing, or counts are in doubt. silent: no window for longer than the stream allows. behind: windows come
    long after their end. insufficient: too few events to see anything. unclear: a segment that no window of a
    day found ok or in drift. warming_up: how much clean windows vary is measured still, and only gross drift
    pages. waiting: no window yet."""

    since_ms: UtcMs | None = Field(None, serialization_alias="since")
    """When it began, event time. Of warming_up, when the events changed, so that it began again. Null if
    that is unknown."""

    fault: Fault = Fault.NONE
    """What the newest window lacks, or why its counts are in doubt: as `incomplete_reason` of its result, or
    events_lost; other for a reason of a later version. none if the concern is not incomplete."""

    detail: str = ""
    """The missing partitions, a reason of a later version, the share of late events, or the segments with
    their verdicts; empty if there is none."""

    extent: str = ""
    """Of refused, how many records of how many that were read in the last hour; of insufficient, how many
    events the newest window has. Empty for the others."""

    unread: Count | None = None
    """Of behind, how many records of the stream's topics are not read yet. Null if that is unknown, and
    for the others."""


class Course(NamedTuple):
    """How large an alarm was over its windows, by the number of its kind, of slow drift by that evidence.

    Attributes:
        usual: How many ok windows before it have the number, at most 100.
        most: Its largest size in them; 0 without any.
        first, last: Its median in the first and in the last third of the alarm's windows; NaN without any.
        turn: 1 if it grows, -1 if it shrinks, 0 if neither is beyond chance.
    """

    usual: int
    most: float
    first: float
    last: float
    turn: int


class Alarm(Record):
    """An alarm of a window size."""

    size: str = Field(serialization_alias="window")
    """The windows' length, such as 1h."""

    verdict: VerdictName
    """The verdict of its last window; ok if only a segment drifts."""

    segments: str
    """The segments that drifted first, as "key = value"; empty if all events drift."""

    since_ms: UtcMs = Field(serialization_alias="since")
    """The start of its first window; of slow drift, its estimated start."""

    after_ms: UtcMs | None = Field(serialization_alias="after")
    """The start of the last window before its evidence began to add up. The events changed between this time
    and the end of its first window. Null without such a window."""

    until_ms: UtcMs | None = Field(serialization_alias="until")
    """The start of the window that ended it. Null while it goes on."""

    windows: Count
    """The number of its windows."""

    size_ms: int = Field(exclude=True)
    """The windows' length, ms."""

    state: StateName = Field(exclude=True)
    """drift or warning; segment if a segment alone drifts."""

    began_ms: int = Field(exclude=True)
    """The start of its first window, event time, ms."""

    evidence: Any = Field(exclude=True)
    """() of `SUMMARY`, the last of its windows that names the kind with most evidence; else the last."""

    kind: str | None = Field(exclude=True)
    """The kind of drift in `evidence`."""

    number: str = Field(exclude=True)
    """The statistic of that kind; of slow drift, the field with that evidence."""

    value: float = Field(exclude=True)
    """Its number in `evidence`; of a segment, its excess."""

    course: Course = Field(exclude=True)
    """How large it was over its windows."""

    is_echo: bool = Field(exclude=True)
    """Whether it is of all events, and comes of a segment that drifts while another is ok."""

    is_alone: bool = Field(exclude=True)
    """Whether some other segment is ok in `evidence`."""

    is_slow: bool = Field(exclude=True)
    """Whether only what added up over many windows is evidence, since none of them names a kind."""

    replaced: tuple[int, str, str] | None = Field(exclude=True)
    """If the window that ended it has another baseline: since when, event time, ms, and the last digits of
    the identities of both. None otherwise."""

    @property
    def seen_ms(self) -> int:
        """The end of the first window, event time, ms."""
        return self.since_ms + self.size_ms


def _alarm(
    series: Series,
    state: StateName,
    rows: NDArray[np.void],
    members: NDArray[np.bool_],
    run: Run,
    smallest: SmallestDrift,
    segments: str = "",
) -> Alarm:
    """Return the alarm of a run of some of n windows, (n,) of `SUMMARY` and (n,) bool."""
    starts = rows["start_ms"]
    within = rows[members & (starts >= run.since_ms) & (starts < (run.until_ms or starts[-1] + 1))]
    before = rows[starts < run.since_ms]
    conclusive = before["start_ms"][np.isin(before["verdict"], CONCLUSIVE)]
    kind: str | None
    if segments:
        evidence = within[-1]
        parts = evidence["segment_excess"] / [getattr(smallest, name) for name in DETECTABLE]
        at = int(np.argmax(np.nan_to_num(parts)))
        kind, number, usual = registry.STATISTICS[at].kind, DETECTABLE[at], np.array([])
        value, sizes = evidence["segment_excess"][at], within["segment_excess"][:, at]
        since_ms, after_ms, is_slow = run.since_ms, run.after_ms, False
    else:
        evidence = _evidence(within)
        kind, number = kind_of(evidence), number_of(evidence)
        value, sizes = evidence[number], within[number]
        is_slow = not evidence["kind"] and bool(evidence["slow_drift"] > 0)
        # A result may lack the estimate; the evidence is then the last window.
        since_ms = min(int(evidence["slow_drift_since_ms"]), run.since_ms) if is_slow else run.since_ms
        # What the first window adds up began before it did if the drift grows, or chance hid it.
        summed_ms = min(since_ms, int(within["slow_drift_since_ms"][0]))
        after_ms = max(conclusive[conclusive < summed_ms].tolist(), default=None)
        is_well = (before["verdict"] == _OK[0]) & (before["baseline"] == evidence["baseline"])
        # The drift may have begun in the ok windows after that.
        usual = before[is_well & (before["start_ms"] < (after_ms or since_ms))][number]
    both = SEGMENT_DRIFT | SEGMENT_OK
    return Alarm(
        size=format_duration(series.size_ms),
        verdict=of_result(run.verdict),
        segments=segments,
        since_ms=since_ms,
        after_ms=after_ms,
        until_ms=run.until_ms,
        windows=run.windows,
        size_ms=series.size_ms,
        state=state,
        began_ms=run.since_ms,
        evidence=evidence,
        kind=kind,
        number=number,
        value=float(value),
        course=_course(usual, sizes),
        is_echo=not segments and evidence["flags"] & both == both,
        is_alone=bool(evidence["flags"] & SEGMENT_OK),
        is_slow=is_slow,
        replaced=None if run.until_ms is None else _replaced(rows, evidence, run.until_ms),
    )


def _replaced(
    rows: NDArray[np.void], evidence: NDArray[np.void], until_ms: int
) -> tuple[int, str, str] | None:
    """Return since when another baseline is in force in the window that ended an alarm, and both."""
    baselines, starts = rows["baseline"], rows["start_ms"]
    before, after = evidence["baseline"], baselines[starts == until_ms][0]
    if before == after:
        return None
    first = starts[(starts > evidence["start_ms"]) & (baselines == after)][0]
    short = [f"{int(each) % 16**8:08x}" for each in (before, after)]
    return int(first), short[0], short[1]


@dataclass(frozen=True, slots=True)
class SizeFacts:
    """What the windows of one series say at any time; all rows are () of `SUMMARY`.

    Attributes:
        series: The stream and size.
        newest: The newest window.
        pace_ms: The time between the publications of the newest window and the one before, at most their
            length; that without a window before.
        concluded: The last window with a conclusion; None without any.
        alarms: The alarm that goes on, and that of segments if it began before.
        passed: The last alarm, if it has ended.
        faulty: The first of the last windows in a row that lack events; None if the newest lacks none.
        fault: What the newest window lacks, or why it is incomplete.
        lacking: The partitions that it lacks, or the reason of the fault `OTHER`; empty if there is none.
        quiet: The first window with too few events since the last conclusion; None without any.
        misfit: The run of windows whose warm-up differs from the baseline, or of several alarms if no
            window was ever well by the baseline; None otherwise.
        unseen: The settings of `smallest_drift` that no window of the last day could see; empty without any.
        unclear: The fault that no window of the last day found some segments ok or in drift; None without it.
        late: The fault that many events of the last day were late; None without it.
        fitted_ms: The end of the first window that is well under each baseline, event time, ms.
        warmed: The number of windows with a conclusion that lie in the `warm_up`.
    """

    series: Series
    newest: NDArray[np.void]
    pace_ms: int
    concluded: NDArray[np.void] | None
    alarms: tuple[Alarm, ...]
    passed: Alarm | None
    faulty: NDArray[np.void] | None
    fault: Fault
    lacking: str
    quiet: NDArray[np.void] | None
    misfit: Run | None
    unseen: str
    unclear: Concern | None
    late: Concern | None
    fitted_ms: Mapping[int, int]
    warmed: int


class SizeStatus(Record):
    """A window size of a stream, and what its last windows say."""

    size: str = Field(serialization_alias="window")
    """The windows' length, such as 1h."""

    state: StateName
    """The state by this size alone."""

    is_old: bool = Field(serialization_alias="old")
    """Whether its last conclusion is older than the stream allows, or missing."""

    concluded_ms: UtcMs | None = Field(serialization_alias="concluded")
    """The start of the last window with a conclusion. Null without any."""

    facts: SizeFacts = Field(exclude=True)
    """What its windows say."""

    concerns: tuple[Concern, ...] = Field(exclude=True)
    """The faults of its data."""

    is_removed: bool = Field(exclude=True)
    """Whether it is no longer configured."""

    @computed_field
    def newest(self) -> SummaryRecord:
        """The newest window."""
        return summary_record(self.facts.newest, self.facts.series.size_ms)


class StreamStatus(Record):
    """The status of a stream: its alarm, its last conclusion, and the health of its data."""

    stream: str
    """The stream."""

    state: StateName
    """The most urgent of its alarm, its drifting segments and the faults of its data. ok only while a recent
    window says so and nothing is missing."""

    is_old: bool = Field(serialization_alias="old")
    """Whether the conclusion behind the state is older than the stream allows."""

    concluded_ms: UtcMs | None = Field(serialization_alias="concluded")
    """The end of the last window with a conclusion; with an alarm, the last that confirms it. Null without
    any."""

    alarms: tuple[Alarm, ...]
    """The alarms that go on: first the one that is told, then by start."""

    passed: tuple[Alarm, ...]
    """The last alarm of each size, if it has ended, in the same order."""

    cause: str = ""
    """What happened to the events, in a sentence; empty without an alarm."""

    concerns: tuple[Concern, ...]
    """The faults of the data, the most urgent first."""

    notes: tuple[str, ...]
    """What else a reader should know, which changes no state: times of events that are whole hours from those
    of their records, few refused records, a warm_up with too few windows, an alarm of a size that is not
    configured.
    """

    sight: tuple[str, ...]
    """The drift of each kind that its windows would miss, such as "novelty below 5.0 %", that first; empty
    if that is not known."""

    unseen: tuple[str, ...]
    """Which smallest_drift no window of a size can see, and how many events that takes."""

    next_steps: tuple[str, ...] = ()
    """What to do, in sentences."""

    silence: str | None = None
    """The command that silences every alert on the stream's drift for four hours. Null without an alarm of a
    configured window size."""

    runbook: str | None = None
    """The address of the runbook. Null if nothing is wrong."""

    owner: str | None = None
    """The owner in the stream's labels. Null if they name none."""

    severity: str = ""
    """The severity in the stream's labels."""

    sizes: tuple[SizeStatus, ...]
    """The window sizes that have windows, the smallest first, and those no longer configured last."""

    held_up_by: tuple[ServiceFault, ...] = Field(exclude=True)
    """The faults of the service that may be the cause of the state."""

    @property
    def leading(self) -> Alarm | None:
        """The first alarm, whose verdict, date and size are told; None without one."""
        return next(iter(self.alarms), None)

    @property
    def leading_ms(self) -> int | None:
        """The windows' length of the alarm that is told, ms; None without one."""
        return None if self.leading is None else self.leading.size_ms

    @property
    def told(self) -> Alarm | None:
        """The leading alarm, or that which has passed last if the stream is ok; None without either."""
        last = self.passed[0] if self.state == "ok" and self.passed else None
        return self.leading or last

    @property
    def is_unsettled(self) -> bool:
        """Whether the last alarm ended because its baseline was replaced, whatever became of the drift."""
        return not self.alarms and any(each.replaced for each in self.passed[:1])

    @property
    def is_of_segments(self) -> bool:
        """Whether a segment drifts by itself, or drifted before all events."""
        return any(each.segments for each in self.alarms)

    @property
    def colour(self) -> StateName:
        """The state whose colour it has; an old conclusion has that of none."""
        return "insufficient" if self.is_old else STATES[self.state].colour

    @property
    def has_alert(self) -> bool:
        """Whether a configured size has an alarm: those of removed ones end with them."""
        return any(size.facts.alarms for size in self.sizes if not size.is_removed)

    @property
    def concern(self) -> Concern | None:
        """The fault of the data with the state, of several the smallest size's; None if it is no fault."""
        return next((each for each in self.concerns if each.name == self.state), None)

    @property
    def lead(self) -> SizeStatus | None:
        """The size that the state comes from, of several the smallest; None without windows."""
        return next((size for size in self.sizes if size.state == self.state), next(iter(self.sizes), None))


def _in_order(alarms: Sequence[Alarm], removed: Container[str]) -> tuple[Alarm, ...]:
    """Return alarms of the sizes of a stream: first the one that is told, then by start.

    That is one of the most urgent, rather of a configured size, of a segment that leads, and with a kind. Of
    several the one that dates their beginning best: of the smallest size that began within the first window
    of the earliest, if a window before it is known.
    """

    def rank(alarm: Alarm) -> tuple[int, bool, bool, bool]:
        return URGENCY.index(alarm.state), alarm.size in removed, alarm.is_echo, alarm.kind is None

    def dating(alarm: Alarm) -> tuple[bool, int, int]:
        is_known = alarm.after_ms is not None
        return not is_known, alarm.size_ms if is_known else alarm.since_ms, alarm.since_ms

    best = min(map(rank, alarms), default=None)
    own = [alarm for alarm in alarms if rank(alarm) == best]
    seen_ms = min((alarm.since_ms, alarm.seen_ms) for alarm in own)[1] if own else 0
    first = min((alarm for alarm in own if alarm.since_ms < seen_ms), key=dating, default=None)
    return tuple(sorted(alarms, key=lambda alarm: (alarm is not first, alarm.since_ms)))


def as_told(rows: NDArray[np.void], misfit: Run | None) -> NDArray[np.void]:
    """Return n windows, (n,) of `SUMMARY`, with the verdicts that are told.

    A segment that drifts is more urgent than possible drift of all events, and the alarms of a baseline that
    does not fit tell nothing but that.
    """
    told = rows.copy()
    numbers = told["verdict"]
    drifts = (told["flags"] & SEGMENT_DRIFT).astype(np.bool_)
    numbers[(numbers == VERDICTS.index("warning")) & drifts] = VERDICTS.index("segment")
    if misfit is not None:
        numbers[np.isin(rows["verdict"], _ALARMING) & (told["start_ms"] >= misfit.since_ms)] = _MISFIT
    return told


def whole_run(rows: NDArray[np.void], at: int) -> Run:
    """Return the run of alarms that holds one of n windows, (n,) of `SUMMARY`.

    Without an alarm in that window, the run is the one that ends with it. Windows without a conclusion, which
    are incomplete or have too few events, do not end a run of windows with one.
    """
    numbers = rows["verdict"]
    conclusive = np.isin(numbers, CONCLUSIVE)
    if numbers[at] in _ALARMING:
        alarming = np.isin(numbers, _ALARMING)
        return _run(rows, at, alarming, conclusive & ~alarming)
    same = numbers == numbers[at]
    breaks = conclusive & ~same if conclusive[at] else ~same
    return _run(rows[: at + 1], at, same[: at + 1], breaks[: at + 1])


def _run(rows: NDArray[np.void], at: int, same: NDArray[np.bool_], breaks: NDArray[np.bool_]) -> Run:
    """Return the run around a window of those that are the same, between two that break it."""
    broken = np.flatnonzero(breaks[:at])
    first = int(broken[-1]) + 1 if len(broken) else 0
    later = np.flatnonzero(breaks[at:])
    stop = at + int(later[0]) if len(later) else len(rows)
    members = first + np.flatnonzero(same[first:stop])
    first, last = int(members[0]), int(members[-1])
    few = np.count_nonzero((rows["verdict"] == _INSUFFICIENT)[first:last] & ~same[first:last])
    return Run(
        VERDICTS[rows["verdict"][last]],
        len(members),
        int(rows["start_ms"][first]),
        int(rows["start_ms"][broken[-1]]) if len(broken) else None,
        int(rows["start_ms"][stop]) if stop < len(rows) else None,
        int(few),
    )


def read_facts(
    series: Series,
    rows: NDArray[np.void],
    names: Mapping[int, Names] = _NAMES_NOTHING,
    settings: StreamSettings | None = None,
    traces: Mapping[tuple[str, str], SegmentTrace] = _NO_TRACES,
) -> SizeFacts:
    """Return what n windows of a series say, at least one.

    Args:
        series: The stream and size.
        rows: (n,) of `SUMMARY`, by start.
        names: What the windows name, by start, ms.
        settings: The stream's settings; by default any drift is worth finding, and no time declared clean.
        traces: What the windows say of each segment.
    """
    numbers, smallest = rows["verdict"], SmallestDrift() if settings is None else settings.smallest_drift
    conclusive = np.isin(numbers, CONCLUSIVE)
    alarming = np.isin(numbers, _ALARMING)
    drifting = conclusive & (rows["flags"] & SEGMENT_DRIFT).astype(np.bool_)
    at = _last(conclusive)
    last: Alarm | None = None
    if alarming.any():
        run = whole_run(rows, _last(alarming))
        # By chance a window of a drift may warn only, and the run is told as drift until many have.
        own = numbers[alarming & (rows["start_ms"] >= run.since_ms)]
        has_drift = (own[-_RECENT:] == VERDICTS.index("drift")).any()
        state: StateName = "drift" if has_drift else "warning"
        last = _alarm(series, state, rows, alarming, run, smallest)
    is_over = last is None or last.until_ms is not None
    alarms = [] if last is None or is_over else [last]
    if at >= 0:
        # If all events drift, a segment may have too few events, which does not end its drift.
        first = _last(conclusive & ~drifting & ~alarming) + 1
        if drifting[first:].any():
            run = _run(rows, at, drifting, conclusive & ~drifting & ~alarming)
            segments = names[run.since_ms].drifting
            # A segment leads if all events together say less, or began to drift later.
            is_first = not alarms or alarms[0].is_echo or run.since_ms < alarms[0].began_ms
            is_first |= bool(alarms) and alarms[0].state == "warning"
            warned = [start_ms for start_ms, each in names.items() if {*segments} & {*each.warned}]
            run = _warned_before(rows[conclusive], run, warned)
            if is_first:
                state = "drift" if alarms and alarms[0].is_echo and alarms[0].state == "drift" else "segment"
                told = name_first(segments, _MAX_NAMED)
                alarms.append(_alarm(series, state, rows, drifting, run, smallest, told))
    first_faulty = _last(~_is_faulty(rows)) + 1
    is_faulty = first_faulty < len(rows)
    few = at + 1 + np.flatnonzero(numbers[at + 1 :] == _INSUFFICIENT)
    return SizeFacts(
        series,
        rows[-1],
        int(np.clip(np.diff(rows["published_ms"][-2:], prepend=0)[-1], 0, series.size_ms)),
        rows[at] if at >= 0 else None,
        tuple(alarms),
        last if is_over else None,
        rows[first_faulty] if is_faulty else None,
        FAULTS[rows["fault"][-1]],
        names.get(int(rows["start_ms"][-1]), NO_NAMES).lacking,
        rows[few[0]] if len(few) else None,
        None if at < 0 else _misfit(rows, at),
        "" if at < 0 or settings is None else _unseen(series, rows[conclusive], settings.smallest_drift),
        None if at < 0 else _unclear(series, int(rows["start_ms"][at]) + series.size_ms, traces),
        _late(series, rows[rows["applied_total"] != UNKNOWN]),
        _fitted_ms(series, rows[np.isin(numbers, _OK)]),
        0 if settings is None else _warmed(series, rows[conclusive], settings),
    )


def _warned_before(rows: NDArray[np.void], run: Run, warned_ms: Sequence[int]) -> Run:
    """Return the run of a segment with the windows right before it, of n conclusive ones, that warn of it."""
    earlier = rows["start_ms"][rows["start_ms"] < run.since_ms]
    last = _last(~np.isin(earlier, warned_ms))
    return replace(
        run,
        windows=run.windows + len(earlier) - last - 1,
        since_ms=int([*earlier, run.since_ms][last + 1]),
        after_ms=None if last < 0 else int(earlier[last]),
    )


def _fitted_ms(series: Series, rows: NDArray[np.void]) -> Mapping[int, int]:
    """Return the end of the first of n ok windows under each baseline, event time, ms."""
    baselines, firsts = np.unique(rows["baseline"], return_index=True)
    ends_ms = rows["start_ms"][firsts] + series.size_ms
    return dict(zip(baselines.tolist(), ends_ms.tolist(), strict=True))


def _warmed(series: Series, rows: NDArray[np.void], settings: StreamSettings) -> int:
    """Return how many of n windows lie in the time that is declared clean."""
    if (warm_up := settings.warm_up) is None:
        return 0
    starts_ms = rows["start_ms"]
    return int(np.count_nonzero((starts_ms >= warm_up.start) & (starts_ms + series.size_ms <= warm_up.end)))


def _misfit(rows: NDArray[np.void], at: int) -> Run | None:
    """Return the run of windows that says that the baseline of the last conclusive window does not fit."""
    own = rows[: at + 1]
    own = own[own["baseline"] == rows["baseline"][at]]
    run = whole_run(own, len(own) - 1)
    if run.verdict == "misfit":
        return run
    never_ok = not np.isin(own["verdict"], _OK).any()
    return run if run.verdict in ALARMS and never_ok and run.windows >= _MISFIT_WINDOWS else None


def _unseen(series: Series, rows: NDArray[np.void], smallest: SmallestDrift) -> str:
    """Return the settings of the smallest drift that none of the last of n conclusive windows could see."""
    is_recent = rows["start_ms"] > rows["start_ms"][-1] - max(_DAY_MS, series.size_ms)
    unseen, tested = [], 0
    for name, sizes in zip(DETECTABLE, rows["detectable"].T, strict=True):
        # What is not tested is NaN, and neither seen nor missed.
        seen, missed = sizes <= getattr(smallest, name), sizes > getattr(smallest, name)
        tested += bool((seen | missed)[is_recent].any())
        if missed[is_recent].any() and not seen[is_recent].any():
            unseen.append(f"smallest_drift.{name}")
    return "any smallest_drift" if unseen and len(unseen) == tested else ", ".join(unseen)


def _unclear(series: Series, end_ms: int, traces: Mapping[tuple[str, str], SegmentTrace]) -> Concern | None:
    """Return the fault that no window of the day before a time found some segments ok or in drift."""
    last_ms = end_ms - max(_DAY_MS, series.size_ms)
    found = {segment: trace for segment, trace in traces.items() if trace.since_ms <= last_ms}
    if not found:
        return None
    named = [
        f"{key} = {value} ({STATES[VERDICTS[trace.verdict]].words.lower()})"
        for (key, value), trace in found.items()
    ]
    since_ms = min(trace.since_ms for trace in found.values())
    detail = name_first(named, _MAX_NAMED)
    size = format_duration(series.size_ms)
    return Concern(name="unclear", size=size, since_ms=since_ms, detail=detail)


def _late(series: Series, rows: NDArray[np.void]) -> Concern | None:
    """Return the fault that many events came too late, by the last of n windows that know the totals.

    Both totals count what the stream's shard applied between the results of a day, or between those of two
    windows if these are longer. Windows of one closing round have equal totals, and those of the earlier
    result are then those of the round before.
    """
    if not len(rows):
        return None
    starts_ms = rows["start_ms"]
    # A correction has later totals than its window's first result, and totals begin again with the shard's
    # state: no result knows less than one before it.
    totals = np.stack([rows["applied_total"], rows["late_total"]])
    totals = np.minimum.accumulate(totals[:, ::-1], axis=1)[:, ::-1]
    day_before = np.searchsorted(starts_ms, starts_ms - max(_DAY_MS, series.size_ms), "right") - 1
    round_before = np.searchsorted(totals[0], totals[0]) - 1
    earlier = np.minimum(np.maximum(day_before, 0), round_before)
    # Before the first result nothing was applied.
    applied, late = totals - np.insert(totals, 0, 0, axis=1)[:, earlier + 1]
    is_late = (late >= LEAST_LATE) & (late > LATE_SHARE * applied)
    if not is_late[-1]:
        return None
    since_ms = int(starts_ms[_last(~is_late) + 1])
    share = f"{format_percent(late[-1] / applied[-1])} of {applied[-1]:,} events"
    return Concern(name="late", size=format_duration(series.size_ms), since_ms=since_ms, detail=share)


def _last(mask: NDArray[np.bool_]) -> int:
    """Return the index of the last true value; -1 without any."""
    return int(np.flatnonzero(mask)[-1]) if mask.any() else -1


def _evidence(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return the last of an alarm's windows that names the kind with most evidence; without any the last."""
    named = rows[rows["kind"] > 0]
    if len(named):
        evidence = np.bincount(named["kind"], -np.log(np.maximum(named["p_value"], LEAST_P)))
        rows = named[named["kind"] == np.argmax(evidence)]
    row: NDArray[np.void] = rows[-1]
    return row


def _course(usual: NDArray[np.float32], sizes: NDArray[np.float32]) -> Course:
    """Return how large an alarm was in its windows, by ok windows before it."""
    usual, sizes = (np.abs(each[np.isfinite(each)]) for each in (usual, sizes))
    usual, third = usual[-_USUAL:], max(len(sizes) // 3, 1)
    first, last = (
        float(np.median(each)) if len(each) else np.nan for each in (sizes[:third], sizes[-third:])
    )
    turn = 0.0
    if len(sizes) >= _LEAST_COURSE and np.ptp(sizes):
        # Spearman's rank correlation with time, in standard deviations of its null.
        ranks = np.unique(sizes, return_inverse=True)[1]
        turn = np.corrcoef(ranks, np.arange(len(sizes)))[0, 1] * np.sqrt(len(sizes) - 1)
    return Course(
        len(usual),
        float(usual.max(initial=0.0)),
        first,
        last,
        int(np.sign(turn)) * (abs(turn) > _BEYOND_CHANCE),
    )


def _is_faulty(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return whether windows lack events, (n,) bool; one judged without a partition lacks some as well."""
    lost = (rows["flags"] & EVENTS_LOST).astype(np.bool_)
    faulty: NDArray[np.bool_] = (rows["verdict"] == _INCOMPLETE) | (rows["missing"] > 0) | lost
    return faulty


def stream_status(
    stream: str,
    facts: Sequence[SizeFacts],
    settings: StreamSettings,
    now_ms: int,
    *,
    history_ms: int = 0,
    is_cut_off: bool = False,
    service: ServiceStatus = _NOTHING_KNOWN,
) -> StreamStatus:
    """Return the status of a stream.

    Args:
        stream: The stream.
        facts: What the windows of each size say, also of those that are no longer configured; empty for a
            stream without results.
        settings: The stream's settings.
        now_ms: The wall clock, ms.
        history_ms: For how long windows are kept here, ms.
        is_cut_off: Whether later results may exist that cannot be read now.
        service: What concerns the stream of what replicas and brokers say.
    """
    own = _shown([_in_light_of(each, facts) for each in facts], settings.windows)
    removed = [
        format_duration(each.series.size_ms) for each in own if each.series.size_ms not in settings.windows
    ]
    alarms = _in_order([alarm for each in own for alarm in each.alarms], removed)
    lags = [number for number in service.unread.values() if number is not None]
    unread = sum(lags) if lags and len(lags) == len(service.unread) else None
    sizes = tuple(_size_status(each, settings, now_ms, unread, is_cut_off=is_cut_off) for each in own)
    known = {each.series.size_ms for each in own}
    missing = [
        Concern(name="waiting", size=format_duration(size)) for size in settings.windows if size not in known
    ]
    refused, refusal = [], service.refusals.get(stream)
    if refusal is not None and refusal.is_many:
        refused.append(Concern(name="refused", size="", detail=refusal.reason, extent=refusal.extent))
    # A segment that is unclear tells nothing beside an alarm.
    found = (each for size in sizes for each in size.concerns if not alarms or each.name != "unclear")
    concerns = sorted(
        [*found, *missing, *refused],
        key=lambda each: URGENCY.index(each.name),
    )
    longest_ok_ms = max((size.facts.series.size_ms for size in sizes if size.state == "ok"), default=0)
    states: list[StateName] = [
        "ok" if size.state in _COVERED and size.facts.series.size_ms < longest_ok_ms else size.state
        for size in sizes
    ]
    state: StateName = min(states, key=URGENCY.index, default="waiting")
    state = min([state, *(each.name for each in refused)], key=URGENCY.index)
    is_old = state != "refused" and all(size.is_old for size in sizes if size.state == state)
    if any(each.misfit is not None and each.misfit.verdict in ALARMS for each in own):
        # No change of the events explains these alarms.
        state = "misfit"
    # Surplus events hold up no stream that has windows.
    causes = tuple(each for each in service.faults if each.name != "surplus") if state in _HELD_UP else ()
    notes = [
        *filter(None, [service.gaps.get(stream)]),
        *([] if refusal is None or refusal.is_many else [refusal.note]),
        *_warm_up_notes(facts, settings, now_ms - history_ms),
        *_removal_notes(facts, settings),
    ]
    confirming = [each for each in own if each.alarms] or own
    return StreamStatus(
        stream=stream,
        state=state,
        is_old=is_old,
        concluded_ms=max(filter(None, map(_concluded_ms, confirming)), default=None),
        alarms=alarms,
        passed=_in_order([each.passed for each in own if each.passed is not None], removed),
        concerns=tuple(concerns),
        notes=tuple(notes),
        sight=_sight(own),
        unseen=tuple(_unseen_notes(own)),
        sizes=sizes,
        held_up_by=causes,
    )


def _shown(found: Sequence[SizeFacts], sizes_ms: Container[int]) -> list[SizeFacts]:
    """Return what configured sizes say, and the alarms of removed ones that are still news.

    A removed size concludes nothing more. Its alarm is news until a configured size has concluded on events
    of a later time, and knows of an alarm when it began.
    """
    kept = [each for each in found if each.series.size_ms in sizes_ms]
    answered_ms = max((_concluded_ms(each) for each in kept), default=0)
    knows_all = all(alarm.after_ms is not None for each in kept for alarm in each.alarms)
    removed = [each for each in found if each.series.size_ms not in sizes_ms and each.alarms]
    return [*kept, *(each for each in removed if not knows_all or _concluded_ms(each) > answered_ms)]


def _concluded_ms(facts: SizeFacts) -> int:
    """Return the end of the last window with a conclusion, event time, ms; 0 without any."""
    return 0 if facts.concluded is None else int(facts.concluded["start_ms"]) + facts.series.size_ms


def _in_light_of(facts: SizeFacts, every: Sequence[SizeFacts]) -> SizeFacts:
    """Return facts in the light of windows of other sizes, such as one that was configured before.

    An alarm without a known beginning began after the last window that was well before it, or after the
    window that an earlier alarm of another size began after, whichever is later. If a window was well under
    this baseline before the alarms, they alone do not suggest that it does not fit.
    """
    well = [each for each in every if each.concluded is not None and each.concluded["verdict"] in _OK]

    def dated(alarm: Alarm) -> Alarm:
        before = [each for each in well if _concluded_ms(each) <= alarm.began_ms]
        known = [_concluded_ms(each) - each.series.size_ms for each in before]
        known += [
            each.after_ms
            for own in every
            for each in own.alarms
            if each.after_ms is not None and each.since_ms < alarm.began_ms
        ]
        if alarm.after_ms is not None or not known:
            return alarm
        return alarm.model_copy(update={"after_ms": max(known)})

    run = facts.misfit
    if run is not None and run.verdict in ALARMS and facts.concluded is not None:
        baseline = int(facts.concluded["baseline"])
        if any(each.fitted_ms.get(baseline, run.since_ms + 1) <= run.since_ms for each in every):
            run = None
    return replace(facts, misfit=run, alarms=tuple(map(dated, facts.alarms)))


def _warm_up_notes(facts: Sequence[SizeFacts], settings: StreamSettings, oldest_ms: int) -> Iterator[str]:
    """Yield how many windows the `warm_up` has, while a length that it is long enough for has too few.

    Another sentence names the lengths that it is too short for. Windows before `oldest_ms` are not known;
    that a length is calibrated shows that it had enough.
    """
    if (warm_up := settings.warm_up) is None or not facts:
        return
    found = {each.series.size_ms: each for each in facts}
    has_passed = max(int(each.newest["start_ms"]) for each in facts) >= warm_up.end
    span = f"the warm_up from {format_moment(warm_up.start)} to {format_moment(warm_up.end)}"
    numbers, too_long, is_short = [], [], False
    for size_ms in settings.windows:
        own = found.get(size_ms)
        warmed = 0 if own is None else own.warmed
        row = None if own is None else own.concluded
        is_calibrated = row is not None and bool(row["flags"] & CALIBRATED)
        if warm_up.whole_windows(size_ms) < fewest_windows(size_ms):
            if own is not None and not is_calibrated:
                too_long.append(format_duration(size_ms))
            continue
        is_short |= warmed < fewest_windows(size_ms) and (warm_up.end > oldest_ms or not is_calibrated)
        numbers.append(f"{warmed or 'no'} window{'' if warmed == 1 else 's'} of {format_duration(size_ms)}")
    if is_short:
        has, so_far = ("has passed with", "") if has_passed else ("has", " so far")
        yield f"{span} {has} {', '.join(numbers)}{so_far}; it takes {_FEWEST}"
    if too_long:
        yield f"{span} is too short for windows of {', '.join(too_long)}; it takes {_FEWEST}"


def _removal_notes(facts: Sequence[SizeFacts], settings: StreamSettings) -> Iterator[str]:
    """Yield which removed sizes had an alarm, which ends with them."""
    for each in facts:
        if each.series.size_ms not in settings.windows and each.alarms:
            size, since = format_duration(each.series.size_ms), format_moment(each.alarms[0].since_ms)
            yield (
                f"windows of {size} are not configured, so the alert on their alarm since {since} ends once "
                "replicas run this configuration"
            )


def _size_status(
    facts: SizeFacts, settings: StreamSettings, now_ms: int, unread: int | None, *, is_cut_off: bool
) -> SizeStatus:
    size_ms = facts.series.size_ms
    overdue_ms = settings.overdue_ms(size_ms)
    size = format_duration(size_ms)
    newest_end_ms, published_ms = int(facts.newest["start_ms"]) + size_ms, int(facts.newest["published_ms"])
    # A file of results has no times of publication.
    is_old = facts.concluded is None or 0 < int(facts.concluded["published_ms"]) < now_ms - overdue_ms
    found: list[Concern] = []
    if facts.faulty is not None:
        since_ms = int(facts.faulty["start_ms"])
        found.append(
            Concern(name="incomplete", size=size, since_ms=since_ms, detail=facts.lacking, fault=facts.fault)
        )
    came_late = published_ms - newest_end_ms > overdue_ms
    # While old events are read, windows follow each other. If the next one does not come in time, everything
    # has been read, or nothing is read any more.
    pause_ms = 2 * facts.pace_ms + settings.delay_ms
    quiet_ms = now_ms - published_ms if published_ms else 0
    is_silent = quiet_ms > (min(pause_ms, overdue_ms) if came_late else overdue_ms)
    is_removed = size_ms not in settings.windows
    if is_silent and not is_removed:
        found.append(Concern(name="silent", size=size, since_ms=newest_end_ms))
    elif came_late and not is_removed:
        found.append(Concern(name="behind", size=size, since_ms=newest_end_ms, unread=unread))
    if facts.misfit is not None:
        found.append(Concern(name="misfit", size=size, since_ms=facts.misfit.since_ms))
    if facts.late is not None:
        found.append(facts.late)
    if facts.quiet is not None and (is_old or _is_quiet_for_long(facts)):
        since_ms, events = int(facts.quiet["start_ms"]), f"{facts.newest['count']:,} events"
        found.append(Concern(name="insufficient", size=size, since_ms=since_ms, extent=events))
    if facts.unclear is not None:
        found.append(facts.unclear)
    if (measured := _measuring(facts)) is not None:
        found.append(measured)
    # No change of the events explains the alarms of a baseline that does not fit.
    alarms = () if facts.misfit is not None else facts.alarms
    states: list[StateName] = [*(alarm.state for alarm in alarms), *(each.name for each in found)]
    state: StateName = min(states, key=URGENCY.index, default="ok")
    return SizeStatus(
        size=size,
        state=state,
        is_old=is_old or is_silent or is_cut_off,
        concluded_ms=None if facts.concluded is None else int(facts.concluded["start_ms"]),
        facts=facts,
        concerns=tuple(found),
        is_removed=is_removed,
    )


def _measuring(facts: SizeFacts) -> Concern | None:
    """Return that how much clean windows vary is still measured, by the last conclusive window."""
    row = facts.concluded
    if row is None or not row["measured_until_ms"]:
        return None
    size, until = format_duration(facts.series.size_ms), format_moment(int(row["measured_until_ms"]))
    return Concern(name="warming_up", size=size, since_ms=int(row["changed_ms"]) or None, detail=until)


def _sight(every: Iterable[SizeFacts]) -> tuple[str, ...]:
    """Return the drift of each kind that windows of every size would miss, novelty first."""
    rows = [each.concluded for each in every if each.concluded is not None]
    found = [row["detectable"] for row in rows if not row["measured_until_ms"]]
    least = np.array(found).reshape(-1, len(DETECTABLE))
    # What is not tested is NaN.
    smallest = np.where(np.isnan(least), np.inf, least).min(axis=0, initial=np.inf)
    seen = dict(zip(DETECTABLE, smallest.tolist(), strict=True))
    return tuple(
        f"{WORDS[name].title.lower()} below "
        f"{(format_percent if WORDS[name].is_share else format_number)(seen[name])}"
        for name in sorted(seen, key=lambda each: each != NOVELTY.name)
        if np.isfinite(seen[name])
    )


def _unseen_notes(every: Iterable[SizeFacts]) -> Iterator[str]:
    """Yield the smallest drift that windows cannot see, and how many events they need."""
    for facts in every:
        # Until it is known how much clean windows vary, what they can see is not known either.
        if facts.unseen and facts.concluded is not None and not facts.concluded["measured_until_ms"]:
            needed = round(float(facts.concluded["events_needed"]))
            what = f"that takes about {needed:,} events a window" if needed else _LIMIT
            yield f"no window of {format_duration(facts.series.size_ms)} can see {facts.unseen}; {what}"


def _is_quiet_for_long(facts: SizeFacts) -> bool:
    """Return whether the last conclusion is a day older than the newest window, whatever may be overdue."""
    assert facts.concluded is not None  # noqa: S101 - the conclusion is not old
    age_ms = int(facts.newest["start_ms"]) - int(facts.concluded["start_ms"])
    return age_ms >= max(_DAY_MS, facts.series.size_ms)
