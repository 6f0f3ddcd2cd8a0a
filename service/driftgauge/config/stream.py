"""The settings of one stream; once read, times and durations are in ms."""

from collections.abc import Mapping
from itertools import pairwise
from math import gcd, isfinite, lcm
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, field_validator, model_validator

from driftgauge.config.fields import (
    NOT_EMPTY,
    Duration,
    IdleTimeout,
    NumberName,
    PositiveDuration,
    Section,
    StreamName,
    StreamPattern,
    Time,
    check,
    format_time,
    require,
)
from driftgauge.config.urls import UrlTemplate
from driftgauge.core.counting.numbers import MAX_NUMBERS, Number
from driftgauge.core.durations import format_duration
from driftgauge.core.spec import Alarm
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.overdispersion import fewest_windows
from driftgauge.core.statistics.statistic import Statistic
from driftgauge.statistic_words import WORDS

__all__ = ["BaselineSettings", "NumberSettings", "SmallestDrift", "StreamLabels", "StreamSettings", "WarmUp"]

# A closing sums a window's panes: 1,440 of them with 1m beside 1d. With more, ten streams would keep the loop
# busy for a second per round.
_MAX_PANES_PER_WINDOW = 1_500

# Start of 9999-12-31, the last day that RFC 3339 can write.
_LAST_MS = 253_402_214_400_000

# Longer than any use, and short enough that a window's end has a date before the year 10000.
_MAX_WINDOW_MS = 3_660 * 86_400_000


def _size_field(statistic: Statistic[Any]) -> tuple[Any, float]:
    """Return the type and the default of the smallest drift that a statistic is to find."""
    field = Field(gt=0, le=statistic.largest, allow_inf_nan=False, description=WORDS[statistic.name].smallest)
    return Annotated[float, field], statistic.smallest


_SIZES: Any = {each.name: _size_field(each) for each in registry.STATISTICS}
SmallestDrift: Any = create_model(
    "SmallestDrift", __base__=Section, __doc__="The smallest drift worth finding, by the statistic.", **_SIZES
)


class WarmUp(Section):
    """The event time that you declare clean; its windows measure the overdispersion.

    Attributes:
        start: The first event time that is clean.
        end: The event time at which the clean time ends.
    """

    start: Time = Field(alias="from")
    end: Time = Field(alias="until")

    def whole_windows(self, size_ms: int) -> int:
        """Return how many windows of a length lie entirely within it: only these are used."""
        return max(self.end // size_ms - -(-self.start // size_ms), 0)


LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@+-]{1,64}$")]


class StreamLabels(Section):
    """The labels that a stream's alerts carry, so that Alertmanager can route them.

    Attributes:
        owner: Who is responsible for the stream, such as a mail address.
        team: The owner's team.
        severity: The severity of the alert on drift: critical (a page), warning (a ticket), info (no notice).
            Other alerts on the stream's drift are at most a warning.
    """

    owner: LabelValue | None = None
    team: LabelValue | None = None
    severity: Literal["critical", "warning", "info"] = "warning"


class NumberSettings(Section):
    """A number that the stream's events carry beside the vector. A list is the short form of `range`.

    Attributes:
        range: The least and the greatest value. Values outside count as the nearer end, and as clipped.
        alert_below: A window counts for the alert if its mean is below this. Two of three windows fire the
            alert.
        alert_change: A window also counts if its mean differs from the baseline's by more than this, in
            either direction.
    """

    range: Annotated[tuple[float, float], Field(strict=False)]
    alert_below: Annotated[float, Field(allow_inf_nan=False)] | None = None
    alert_change: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, number: object) -> object:
        return {"range": number} if isinstance(number, list | tuple) else number

    @model_validator(mode="after")
    def _check_range(self) -> "NumberSettings":
        low, high = self.range
        require(
            low < high and isfinite(high - low),
            "range is the least and the greatest value, such as [0, 1], the least first",
        )
        require(
            self.alert_below is None or low < self.alert_below <= high,
            "alert_below lies outside the range; no mean, or every mean, would be below",
        )
        require(
            self.alert_change is None or self.alert_change < high - low,
            "alert_change is as large as the range; no mean changes by more",
        )
        return self


class BaselineSettings(Section):
    """One entry of the baseline schedule.

    Attributes:
        file: The baseline's file; a relative path is relative to the configuration file.
        from_ms: The event time from which the baseline is in force. Windows of all sizes must start at it.
            The first baseline has none.
    """

    file: Annotated[Path, Field(strict=False)]
    from_ms: Annotated[Time | None, Field(alias="from")] = None


def _check_schedule(baselines: tuple[BaselineSettings, ...], windows: tuple[int, ...]) -> None:
    """Check that each baseline starts after the one before, where windows of all sizes, ms, start.

    Raises:
        ValueError: One does not.
    """
    require(
        baselines[0].from_ms is None,
        "the first of baselines is in force from the beginning; leave out its from",
    )
    for number, (before, after) in enumerate(pairwise(baselines), start=1):
        if after.from_ms is None:
            message = f"baselines.{number} has no from; give the event time from which it is in force"
            raise ValueError(message)
        require(
            before.from_ms is None or before.from_ms < after.from_ms,
            f"baselines.{number}: its from must be later than that of the baseline before it",
        )
        step_ms = lcm(*windows)
        if after.from_ms % step_ms:
            sizes = ", ".join(map(format_duration, windows))
            after_ms = after.from_ms + -after.from_ms % step_ms
            following = f"; the next such time is {format_time(after_ms)}" if after_ms <= _LAST_MS else ""
            message = (
                f"baselines.{number}: windows of all sizes ({sizes}) must start at its from, "
                f"{format_time(after.from_ms)}, and they do not{following}"
            )
            raise ValueError(message)


class StreamSettings(Section):
    """The settings of one stream.

    Attributes:
        name: The stream's name in the events: 1 to 128 of `A-Z a-z 0-9 . _ - / : @`.
        match: In place of `name`, a pattern for the names of streams that share the entry; `*` stands for any
            characters.
        most: How many matching streams the entry is for. They share the alarm budget as if all of them came.
            Each shard admits at most this many, in the order in which they come, and counts the events of
            further streams as surplus. More streams over all shards fire an alert.
        baselines: The baseline schedule, oldest first.
        windows: The window sizes, such as `[1h, 1d]`, aligned to the epoch in UTC. A change may leave open
            windows incomplete. The alert of a removed size is resolved, and the log says so. The page shows
            its alarm until windows of another size have concluded on later events.
        allowed_disorder: How far an event may be behind the newest event of its partition.
        allowed_lateness: How long a closed window is still revised.
        idle_timeout: The silence after which a partition may count as idle, at least 5s.
        incomplete_after: How long a window waits for the partitions behind, once one partition has passed its
            end.
        give_up_after: How long a partition may stand still before windows are judged in full without it; not
            shorter than `incomplete_after`.
        min_events: A window with fewer events is not scored; by default 5 events a cluster. With fewer than
            half an event a cluster, p-values mean little.
        smallest_drift: The smallest drift worth finding.
        warm_up: A time of live traffic that you declare clean, of 20 windows or more. By default the
            baseline's windows show how much clean windows vary. If they do not, the stream's first two weeks
            do, and until then only gross drift is drift. With windows on less than 14 days slow drift only
            warns.
        segments: The segment keys that are also judged separately, of those that the baselines were fitted
            with. A change leaves open windows incomplete.
        labels: The labels of the stream's alerts.
        snippet_bytes: How many bytes of an example's text, in UTF-8, are kept and shown behind the page's
            login; by default none.
        example_url: Where an event can be looked at, such as `https://images.example/{event_id}`; it may
            contain `{stream}` too. Without it, ids are text.
        thumbnail_url: Where the picture of an event is, in the same form.
        numbers: The numbers that events carry beside the vector, such as `{confidence: [0, 1]}`, two at most.
            They decide no verdict; each has its own alerts, off by default.
        overdue_after: How long after a window closed the next one is overdue. By default the sum of two
            windows, `allowed_disorder`, and the longer of `idle_timeout` and `incomplete_after`. Set it
            longer for a stream that pauses at night.
    """

    LONG_FORM = "baselines"
    SHORT_FORMS: ClassVar[Mapping[str, str]] = {"baseline": "file"}

    name: StreamName | None = None
    match: StreamPattern | None = None
    most: Annotated[int, Field(ge=1, le=10_000)] = 1
    baselines: Annotated[tuple[BaselineSettings, ...], Field(strict=False), NOT_EMPTY]
    windows: Annotated[tuple[PositiveDuration, ...], Field(strict=False), NOT_EMPTY]
    allowed_disorder: Duration = 30_000
    allowed_lateness: Duration = 600_000
    idle_timeout: IdleTimeout = 60_000
    incomplete_after: PositiveDuration = 300_000
    give_up_after: PositiveDuration = 3_600_000
    min_events: Annotated[int, Field(ge=1)] | None = None
    smallest_drift: SmallestDrift = SmallestDrift()
    warm_up: WarmUp | None = None
    segments: Annotated[
        tuple[str, ...],
        Field(strict=False),
        check(lambda keys: len(set(keys)) == len(keys), "a key occurs twice; keep one"),
    ] = ()
    labels: StreamLabels = StreamLabels()
    snippet_bytes: Annotated[int, Field(ge=0, le=256)] = 0
    example_url: UrlTemplate | None = None
    thumbnail_url: UrlTemplate | None = None
    numbers: Annotated[dict[NumberName, NumberSettings], Field(max_length=MAX_NUMBERS)] = Field(
        default_factory=dict
    )
    overdue_after: PositiveDuration | None = None

    @field_validator("windows")
    @classmethod
    def _check_windows(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        require(len(set(windows)) == len(windows), "a window size occurs twice; keep one")
        require(max(windows) <= _MAX_WINDOW_MS, f"a window lasts at most {format_duration(_MAX_WINDOW_MS)}")
        require(
            max(windows) // gcd(*windows) <= _MAX_PANES_PER_WINDOW,
            f"the largest window holds more than {_MAX_PANES_PER_WINDOW:,} panes of "
            f"{format_duration(gcd(*windows))}, the greatest common divisor of all sizes; "
            "choose sizes with a larger common divisor",
        )
        return tuple(sorted(windows))

    @model_validator(mode="after")
    def _check_key(self) -> "StreamSettings":
        require(
            (self.name is None) != (self.match is None),
            "give either name, or match: the pattern of the names of several streams",
        )
        require(
            self.match is None or "most" in self.model_fields_set,
            "match needs most: how many streams it is for, by which the alarm budget is shared",
        )
        require(self.name is None or self.most == 1, "most belongs to match; a name is one stream")
        return self

    @model_validator(mode="after")
    def _check_together(self) -> "StreamSettings":
        _check_schedule(self.baselines, self.windows)
        require(
            self.give_up_after >= self.incomplete_after,
            f"give_up_after, {format_duration(self.give_up_after)}, must not be shorter than "
            f"incomplete_after, {format_duration(self.incomplete_after)}",
        )
        if self.warm_up is None:
            return self
        size_ms = min(self.windows)
        whole = self.warm_up.whole_windows(size_ms)
        require(
            whole >= fewest_windows(size_ms),
            f"warm_up holds {whole} whole {'window' if whole == 1 else 'windows'} of "
            f"{format_duration(size_ms)}, and the overdispersion takes {fewest_windows(size_ms)}; declare a "
            "longer time clean, or leave warm_up out",
        )
        return self

    @property
    def key(self) -> str:
        """The name, or the pattern: the key of `ByStream`."""
        return str(self.name or self.match)

    def alarm(self, level: float) -> Alarm:
        """Return the alarm of the stream at a window's significance level."""
        return Alarm(
            level=level,
            smallest=self.smallest_drift.model_dump(),
            warm_up=None if self.warm_up is None else (self.warm_up.start, self.warm_up.end),
            segment_keys=self.segments,
        )

    @property
    def numbers_of_events(self) -> tuple[Number, ...]:
        """The numbers that the stream's events carry."""
        return tuple(
            Number(name, *each.range, each.alert_below, each.alert_change)
            for name, each in self.numbers.items()
        )

    @property
    def delay_ms(self) -> int:
        """The time by which disorder and idle or slow partitions may delay a window, ms."""
        return self.allowed_disorder + max(self.idle_timeout, self.incomplete_after)

    def overdue_ms(self, size_ms: int) -> int:
        """Return the time after the closing of a window of this size after which the next is overdue, ms.

        By default two window sizes, since an empty window is not closed, plus the delay of the second.
        """
        return self.overdue_after or 2 * size_ms + self.delay_ms

    def below(self, folder: Path) -> "StreamSettings":
        """Return the settings with baseline paths relative to this folder."""
        baselines = tuple(
            baseline.model_copy(update={"file": folder / baseline.file}) for baseline in self.baselines
        )
        return self.model_copy(update={"baselines": baselines})
