"""The contract of window results, version 1."""

from collections.abc import Iterable
from math import inf
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "ClusterRecord",
    "EstimateRecord",
    "EventsRecord",
    "ExampleRecord",
    "FindingRecord",
    "Finite",
    "NumberClusterRecord",
    "NumberRecord",
    "PartitionRecord",
    "SegmentRecord",
    "SlowDriftRecord",
    "VerdictName",
    "WindowRecord",
    "require_understood",
]

_UTC_DATE_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z"

Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# The least drift that is found is infinite if none is.
Found = Annotated[Finite | None, BeforeValidator(lambda size: None if size == inf else size)]
VerdictName = Literal["ok", "warning", "drift", "insufficient", "incomplete", "misfit"]
UtcDateTime = Annotated[str, Field(pattern=f"^{_UTC_DATE_TIME}$")]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, from_attributes=True, use_attribute_docstrings=True)


class ClusterRecord(_Record):
    """One cluster of a window."""

    id: Count
    """The cluster's number in the baseline."""

    count: Count
    """Events of the window in this cluster."""

    share: Finite
    """The cluster's share of the window's events, 0 to 1."""

    baseline_share: Finite
    """The cluster's share of the events that the window is compared with, 0 to 1: of the baseline's. After a
    warm-up it is the mean of baseline and warm-up, weighted by the inverse of their variances."""

    js_contribution: Finite | None
    """The cluster's term of the divergence; all terms sum to it. Null if the window is not scored."""

    novelty_contribution: Finite | None = None
    """The cluster's part of the novelty's `excess`; all parts sum to it. Null if the window is not scored."""

    name: str | None = None
    """The cluster's name: its labels, or its terms; 80 bytes at most. Clusters may share a name, and the
    id tells them apart. Null if the baseline has none."""

    position: tuple[Finite, Finite] | None = None
    """The mean of the cluster's baseline events along the baseline's two leading components, in standard
    deviations. Null if unknown."""


class FindingRecord(_Record):
    """What one statistic found."""

    kind: str
    """The kind of drift that it finds."""

    value: Finite | None
    """Its size: what charts show. Null if the baseline's vectors do not vary in it."""

    excess: Finite
    """The size less its expectation without drift, which the verdict compares."""

    p_value: Finite
    """The combined p-value of its tests: the probability, without drift, of a size at least as large."""

    numbers: dict[str, Finite | dict[str, Finite | None] | None]
    """Its numbers by name, or by part. Null if the baseline's vectors do not vary in it."""


class SlowDriftRecord(_Record):
    """Small evidence accumulated over windows."""

    statistic: Finite
    """The CUSUM of the windows' evidence, 0 or more."""

    limit: Finite
    """The value from which the statistic warns."""

    since: UtcDateTime | None = None
    """The estimated start of the drift, if there is any: of the first window since the statistic was last 0,
    UTC. Null while the statistic is 0."""


class EventsRecord(_Record):
    """Some events of the window, and of the baseline."""

    event_ids: tuple[str, ...]
    """The `event_id`s of the window's events."""

    baseline_event_ids: tuple[str, ...] = ()
    """The `event_id`s of the baseline's events: of a cluster those nearest to the centroid."""

    snippets: tuple[str, ...] = ()
    """The beginnings of the texts of the events of `event_ids`, if the stream keeps them."""

    baseline_snippets: tuple[str, ...] = ()
    """The same of the events of `baseline_event_ids`, if the baseline holds them."""


class ExampleRecord(EventsRecord):
    """Some events of a cluster."""

    cluster: Count
    """The cluster."""


class SegmentRecord(_Record):
    """A window's events of one segment, compared with the baseline's; scores are null if not scored."""

    key: str
    """The segment's key, such as country."""

    value: str
    """The key's value for these events; other for all values without a segment."""

    count: Count
    """Events counted."""

    js_divergence: Finite | None
    """As in the window."""

    excess: dict[str, Finite] | None
    """As `excess` in the window's findings, by the statistic's name."""

    p_value: Finite | None
    """As in the window, for this segment alone."""

    adjusted_p_value: Finite | None
    """The p-value adjusted for the number of segments (Benjamini-Hochberg)."""

    calibrated: bool | None
    """As in the window: whether the overdispersion of this segment's own events is known."""

    verdict: VerdictName
    """As in the window."""


class PartitionRecord(_Record):
    """A partition of an events topic."""

    topic: str
    """The topic."""

    partition: Count
    """The index of the partition."""


class EstimateRecord(_Record):
    """A value and its error."""

    value: Finite
    """The value."""

    error: Finite
    """Its standard error."""


class NumberClusterRecord(_Record):
    """A number in one cluster."""

    id: Count
    """The cluster's number in the baseline."""

    mean: Finite | None
    """The mean in the window. Null without a value."""

    baseline_mean: Finite | None
    """The mean in the baseline. Null without a value."""

    change: Finite | None
    """The cluster's part of `change`; all parts sum to it. Null if that is."""

    within: Finite | None
    """The cluster's part of `within`, likewise."""


class NumberRecord(_Record):
    """What a window says of a number beside the embedding. No verdict depends on it."""

    count: Count
    """The events with a value."""

    missing: Count
    """The events without one."""

    clipped: Count
    """The values outside the range, which count as its nearer end."""

    partial: bool
    """Whether `count` and `missing` are fewer than the window's events, some of which a replica counted that
    did not know the number. Such a window decides nothing of its alert."""

    mean: EstimateRecord | None
    """The mean. The error is that of independent values, times the root of `overdispersion`. Null without a
    value."""

    overdispersion: Finite
    """How many times as much as the means of independent values those of windows vary, by the differences
    of up to 25 windows that follow one another, once there are nine, or by the windows of the baseline if it
    was fitted with times and these are as long or longer; the larger of both, 1 at least."""

    baseline_mean: Finite | None
    """The mean in the baseline. Null if the baseline does not know the number, as for the fields that
    follow."""

    change: EstimateRecord | None
    """`mean` less `baseline_mean`, the sum of the next three."""

    mix: EstimateRecord | None
    """What comes of other shares of the clusters (Kitagawa's symmetric form)."""

    within: EstimateRecord | None
    """What comes of other means within clusters."""

    unshared: EstimateRecord | None
    """What comes of clusters in which only the window or only the baseline has values, by more than
    chance."""

    changed: bool
    """Whether the 95 % interval of `change` excludes 0."""

    movers: tuple[Count, ...]
    """The clusters that hold most of the change, three at most, the largest first."""

    exceeds: bool
    """Whether the window is beyond `alert_below` or `alert_change`."""

    fires: bool
    """Whether two of the last three windows are, which fires the alert. A window that is partial, without
    conclusion or of too few values is none of these three, and leaves the alert as it was."""

    clusters: tuple[NumberClusterRecord, ...]
    """Every cluster of the baseline, by id."""


class CalibrationRecord(_Record):
    """What showed how much windows vary without drift."""

    source: str
    """none: nothing; the verdict is provisional. baseline: the baseline's own windows. warm_up: those of the
    declared warm-up. first_windows: the stream's first windows. borrowed: the first windows against the
    baseline before, or of another stream of the entry. Later versions may add sources."""

    window: str
    """The length of these windows, such as 1h."""

    start: UtcDateTime | None
    """The start of the first of them, event time, UTC. Null if unknown."""

    end: UtcDateTime | None
    """The end of the last of them. Null if unknown."""

    windows: Finite | None
    """How many independent windows they are worth. Null if it was not measured."""

    overdispersion: dict[str, Finite]
    """How many times as much as windows of independent events they vary, by the statistic's name; of several
    numbers, the one that varies most."""

    misfit: bool
    """Whether these windows differ from the baseline, so that windows are compared with them."""


class MeasuringRecord(_Record):
    """The measurement that a provisional verdict waits for."""

    start: UtcDateTime
    """The start of the first window that is measured, event time, UTC."""

    until: UtcDateTime
    """When it ends at the earliest."""

    changed: UtcDateTime | None
    """When the events last changed meanwhile, so that it began again. Null if they have not."""


class WindowRecord(_Record):
    """The result of one window; a higher revision of the same stream, window and start replaces it."""

    stream: str
    """The embedding stream."""

    window: str
    """The window's length, such as 1h."""

    start: UtcDateTime
    """Event time at which the window starts, UTC, inclusive."""

    end: UtcDateTime
    """Event time at which the window ends, UTC, exclusive."""

    revision: Count
    """0 when the window closes; one higher each time its counts or other fields change."""

    count: Count
    """Events counted."""

    verdict: VerdictName
    """drift: two of the last three windows are significant and large, or the divergence and mean shift of
    this one are overwhelming: their combined p-value below a hundredth of the level, one of them at least
    twice as large as large. Also if the windows since the start of slow drift, two or more, are so together,
    by all statistics, and windows on 14 days were measured. While the verdict is provisional, a window counts
    for drift only if its drift would be significant in one worth 20 independent events. warning: only this
    window is significant and large, or there is slow drift. ok: no drift was found; `detectable` says how
    small a drift would have been. insufficient: too few events to be scored. incomplete: partitions are
    missing, or `incomplete_reason` names another fault of the counts. misfit: no drift, but the windows that
    were measured differ from the baseline."""

    js_divergence: Finite | None
    """Jensen-Shannon divergence from the baseline, base 2, 0 to 1; not the distance. Null if the window
    has too few events to be scored."""

    js_distance: Finite | None
    """The divergence's square root. Null if the window is not scored."""

    noise_floor: Finite | None
    """The expected divergence without drift, for this count. Null if the window is not scored."""

    p_value: Finite | None
    """The combined p-value of all statistics' tests. Null if the window is not scored."""

    calibrated: bool | None
    """Whether windows of this length showed how much they vary without drift. If not, p-values may be too
    small if events come in bursts. Null if the window is not scored."""

    calibration: CalibrationRecord | None = None
    """What the window was judged by. Null if unknown."""

    measuring: MeasuringRecord | None = None
    """The measurement that the verdict waits for; it is provisional until then. Null if it waits for none."""

    findings: dict[str, FindingRecord] | None = None
    """What each statistic found, by its name; one is missing if the baseline was fitted before.
    Null if the window is not scored."""

    evidence: dict[str, Finite] | None = None
    """The share of each kind of drift in the evidence of all tests; the shares sum to 1. In a run of drift
    that of the windows before it counts as well. Null if the window is not scored."""

    kind: str | None = None
    """The kind of drift with the largest share of the evidence. Null if the window is not scored, or not
    significant. Later versions may add kinds."""

    detectable: dict[str, Found] | None
    """The least drift that four of five windows of this count find, by the statistic's name; after a warm-up
    no less than may hide in it; null if none is found. Null if the window is not scored."""

    events_needed: Count | None = None
    """How many events a window needs to find the smallest drift of every kind. Null if no number of them
    suffices, since the baseline or the calibration is the limit, or if the window is not scored."""

    slow_drift: SlowDriftRecord | None
    """The slow drift up to this window. Null if the window is incomplete or not scored."""

    baseline: Annotated[str, Field(pattern="^sha256:[0-9a-f]+$")]
    """The identity of the baseline."""

    baseline_created: UtcDateTime | None = None
    """The time of the baseline's fit, UTC. Null if unknown."""

    incomplete: tuple[PartitionRecord, ...]
    """The partitions that had not passed the window's end at publication; a higher revision follows when
    they have. Empty if none is missing."""

    incomplete_reason: str | None = None
    """Why the verdict is incomplete although `incomplete` names no partition: counted_twice; or
    counted_otherwise (under a baseline, pane length or segments other than those in force; `count` leaves
    such events out, perhaps all); or panes_purged (the window's size was configured after a part of its
    counts was deleted). Null otherwise. Later versions may add reasons."""

    events_lost: bool
    """Whether Kafka may have deleted events of the window before they were read."""

    counted_twice: bool = False
    """Whether events of the window may have been counted twice."""

    applied_total: Count | None = None
    """All accepted events of the stream that were applied by this publication, late ones among them, since
    the state of the service began. Null if unknown."""

    late_total: Count | None = None
    """Those of `applied_total` that came too late for their window of this length, which does not count them.
    The share of late events between two results is the difference of this number over that of
    `applied_total`. Null if unknown."""

    clusters: tuple[ClusterRecord, ...]
    """Every cluster of the baseline, by id."""

    movers: tuple[Count, ...]
    """The clusters with the largest contributions to the divergence, three at most, the largest first."""

    examples: tuple[ExampleRecord, ...]
    """Some events of the movers, of the window and of the baseline, as far as these have an `event_id`."""

    farthest: EventsRecord | None = None
    """The events that lie farthest beyond the radius of their cluster, by the distance in radii, the farthest
    first: six of the window at most, and five of the baseline. Null if unknown, or if there are none."""

    segments: tuple[SegmentRecord, ...]
    """Every configured segment."""

    numbers: dict[str, NumberRecord] = {}
    """The numbers beside the embedding that the stream names, by name."""

    must_understand: tuple[str, ...] = ()
    """Names of fields without which the record would mislead: refuse the record if you do not know one of
    them. Ignore all other fields that you do not know."""


_KNOWN = frozenset(WindowRecord.model_fields)


def require_understood(names: Iterable[str]) -> None:
    """Refuse a record by the names in its `must_understand`.

    Raises:
        ValueError: This version does not know one of the fields.
    """
    if unknown := sorted(set(names) - _KNOWN):
        message = (
            f"it has {', '.join(unknown)}, which a reader must understand and this driftgauge does not know; "
            "update it"
        )
        raise ValueError(message)
