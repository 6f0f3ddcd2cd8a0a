"""The geometry of the charts: numbers over time, and the strips of verdicts of the overview."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftgauge.page.states import STATES
from driftgauge.page.summary import VERDICTS, Parts, kind_names
from driftgauge.page.words import format_moment, format_number

__all__ = [
    "PLOT",
    "Band",
    "Chart",
    "HeatRow",
    "Hit",
    "SmallLine",
    "Tick",
    "chart",
    "heat_strip",
    "places",
    "strip",
    "trend",
]

PLOT = {"width": 960, "left": 58, "right": 952, "top": 8}
"""The width of every drawing, and the edges of the plot within it, but for the lower one."""

_LEFT, _TOP = PLOT["left"], PLOT["top"]
_PLOT_WIDTH = PLOT["right"] - _LEFT
# A strip of verdicts and two lines of text stand below a plot, and perhaps a strip of kinds.
_BOTTOM = 60
_STRIP = 18
_HEADROOM = 1.08
_DRIFT, _NO_VERDICT = VERDICTS.index("drift"), 255
_VERDICT_NAMES = dict(enumerate(VERDICTS))
# Numbers that differ by less are drawn as zeros.
_LEAST_SPAN = 1e-9
_MAX_DOTS = 120
_TICKS_X = 8
# Room for the text of a tick, even if a phone shows it larger.
_TICK_HEIGHT = 44
_MULTIPLES = (2, 4, 10, 25, 50, 100, 250, 500, 1_000)
_S_MS = 1_000
_TIME_STEPS_MS = tuple(
    round(hours * 3_600_000)
    for hours in (1 / 60, 1 / 12, 0.25, 0.5, 1, 3, 6, 12, 24, 48, 168, 336, 672, 2_016, 8_760)
)
_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = 4 * _DAY_MS
SPARK_WIDTH, SPARK_HEIGHT = 160, 28


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of windows with the same verdict, or kind of drift: its left edge and width."""

    verdict: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Hit:
    """The area of a window, which leads to it: its left edge and width, and the window's start, ms."""

    start_ms: int
    x: float
    width: float
    verdict: str
    value: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of an axis: its position, its text; of a time also the text of the line below, and it in ms."""

    at: float
    text: str
    below: str = ""
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a number over time; all lengths are in units of the drawing.

    Attributes:
        title: What it shows.
        text: The same in a sentence.
        height: The height of the drawing; its width, and the other edges of the plot, are `PLOT`.
        bottom: The lower edge of the plot.
        bands: The strip of verdicts below it.
        kinds: The strip of kinds of drift below that; empty if no window names one.
        ticks_top: Where the texts of the time axis begin.
        hits: The areas of the windows.
        line: The path of the number; windows without it, and missing windows, break it.
        dots: The points of the number, if there are few.
        floor: The path of the noise, or empty.
        limits: The paths of what is large, or empty.
        zero: The height of zero.
        x_ticks, y_ticks: The ticks of the axes.
    """

    title: str
    text: str
    height: int
    bottom: int
    bands: tuple[Band, ...]
    kinds: tuple[Band, ...]
    ticks_top: int
    hits: tuple[Hit, ...]
    line: str
    dots: tuple[tuple[float, float], ...]
    floor: str
    limits: tuple[str, ...]
    zero: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def chart(
    title: str,
    text: str,
    rows: NDArray[np.void],
    size_ms: int,
    values: NDArray[np.float64],
    *,
    floor: NDArray[np.float64] | None = None,
    limits: Sequence[NDArray[np.float64]] = (),
    height: int = 256,
    is_limit: bool = False,
) -> Chart:
    """Return the chart of a number of n windows, at least one.

    Args:
        title: What it shows.
        text: The same in a sentence.
        rows: (n,) of `SUMMARY`, by start.
        size_ms: The windows' length, ms.
        values: (n,) float64, the number of each window; NaN if it has none.
        floor: (n,) float64, what noise alone makes of it.
        limits: (n,) float64 each, from where on it is large.
        height: The height of the drawing.
        is_limit: Whether the numbers are parts of a limit, 0 or more. Heights are then their roots, so that
            the limit remains visible below numbers that are far larger; the axis is in words, and the kinds
            of drift are shown.
    """
    texts = [format_number(value) for value in values.tolist()]
    if is_limit:
        values, limits = np.sqrt(values), [np.sqrt(limit) for limit in limits]
        floor = None if floor is None else np.sqrt(floor)
    starts = rows["start_ms"]
    left, wide = _across(starts, size_ms, _PLOT_WIDTH)
    left += _LEFT
    drawn = [values, *([] if floor is None else [floor]), *limits]
    finite = np.concatenate([each[np.isfinite(each)] for each in drawn])
    low, high = _extent(finite)
    kinds = tuple(_bands(rows["kind"], kind_names(), left, wide)) if is_limit else ()
    ticks_top = height - _BOTTOM + _STRIP
    bottom = ticks_top - _STRIP - (_STRIP if kinds else 0)
    unit = (bottom - _TOP) / (high - low)
    middle, gaps = left + wide / 2, np.diff(starts) > 1.5 * size_ms

    def path(line: NDArray[np.float64]) -> str:
        return _path(middle, bottom - (line - low) * unit, gaps)

    heights = bottom - (values - low) * unit
    shown = np.isfinite(values)
    return Chart(
        title,
        text,
        height,
        bottom,
        tuple(_bands(rows["verdict"], _VERDICT_NAMES, left, wide)),
        kinds,
        ticks_top,
        tuple(
            Hit(int(start), _round(x), _round(wide), VERDICTS[verdict], value)
            for start, x, verdict, value in zip(starts, left, rows["verdict"].tolist(), texts, strict=True)
        ),
        path(values),
        tuple((_round(x), _round(y)) for x, y in zip(middle[shown], heights[shown], strict=True))
        if len(rows) <= _MAX_DOTS
        else (),
        "" if floor is None else path(floor),
        tuple(path(limit) for limit in limits),
        _round(bottom + low * unit),
        _time_ticks(int(starts[0]), int(starts[-1]) + size_ms, wide / size_ms),
        tuple(
            Tick(_round(bottom - (tick - low) * unit), text)
            for tick, text in (
                _limit_ticks(high, _TICK_HEIGHT / unit)
                if is_limit
                else _nice_ticks(low, high, (bottom - _TOP) // _TICK_HEIGHT)
            )
        ),
    )


def places(rows: NDArray[np.void], size_ms: int, times_ms: Sequence[int]) -> list[float]:
    """Return where times are on the time axis of the chart of n windows, (n,) of `SUMMARY`, at least one."""
    left, wide = _across(rows["start_ms"], size_ms, _PLOT_WIDTH)
    return [
        _round(_LEFT + left[0] + (time_ms - rows["start_ms"][0]) * wide / size_ms) for time_ms in times_ms
    ]


@dataclass(frozen=True, slots=True)
class HeatRow:
    """The verdicts of a segment over time, below a chart of the same windows.

    Attributes:
        segment: Its key and value.
        text: The same in words, for people who hear the page.
        bands: The stretches of equal verdicts.
    """

    segment: tuple[str, str]
    text: str
    bands: tuple[Band, ...]


def heat_strip(
    rows: NDArray[np.void], size_ms: int, parts: Sequence[tuple[int, Parts]], most: int
) -> list[HeatRow]:
    """Return the verdicts of segments over the time of n windows, the longest in drift first.

    Args:
        rows: (n,) of `SUMMARY`, by start, at least one.
        size_ms: The windows' length, ms.
        parts: The starts, ms, and parts of windows, by start; others than these n are left out.
        most: The largest number of segments.
    """
    shown = [each for each in parts if rows["start_ms"][0] <= each[0] <= rows["start_ms"][-1]]
    if not shown:
        return []
    starts = [start_ms for start_ms, _ in shown]
    left = np.array(places(rows, size_ms, starts))
    wide = _across(rows["start_ms"], size_ms, _PLOT_WIDTH)[1]
    by_name = [dict(zip(each.segments, each.verdicts.tolist(), strict=True)) for _, each in shown]
    verdicts = {
        segment: np.array([each.get(segment, _NO_VERDICT) for each in by_name])
        for segment in shown[-1][1].segments
    }
    found = []
    for segment in sorted(verdicts, key=lambda each: -np.count_nonzero(verdicts[each] == _DRIFT))[:most]:
        numbers = verdicts[segment]
        told = ", ".join(
            f"{STATES[VERDICTS[numbers[begin]]].words} from {format_moment(starts[begin])}"
            for begin, _ in _stretches(numbers, left, wide)
            if numbers[begin] in _VERDICT_NAMES
        )
        bands = tuple(_bands(numbers, _VERDICT_NAMES, left, wide))
        found.append(HeatRow(segment, f"{' = '.join(segment)}: {told}", bands))
    return found


@dataclass(frozen=True, slots=True)
class SmallLine:
    """A small line of a number over time.

    Attributes:
        line: The path of the number; empty if no window has one.
        level: The height of a level that it is compared with.
    """

    line: str
    level: float


def trend(starts_ms: Sequence[int], size_ms: int, values: Sequence[float], level: float) -> SmallLine | None:
    """Return the small line of n windows' numbers, 0 or more; NaN breaks it. None for less than two."""
    if len(starts_ms) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    high = max(float(np.nanmax([*values, level])), _LEAST_SPAN)
    line = _small_path(np.array(starts_ms), size_ms, np.array(values, np.float64) / high)
    return SmallLine(line, _round(SPARK_HEIGHT - 2 - level / high * (SPARK_HEIGHT - 4)))


def strip(rows: NDArray[np.void], size_ms: int, from_ms: int, until_ms: int) -> tuple[Band, ...]:
    """Return the verdicts of n windows, (n,) of `SUMMARY`, over a time, as wide as a small line."""
    rows = rows[rows["start_ms"] + size_ms > from_ms]
    scale = SPARK_WIDTH / (until_ms - from_ms)
    left = (rows["start_ms"] - from_ms) * scale
    return tuple(_bands(rows["verdict"], _VERDICT_NAMES, left, size_ms * scale))


def _small_path(starts_ms: NDArray[np.int64], size_ms: int, shares: NDArray[np.float64]) -> str:
    left, wide = _across(starts_ms, size_ms, SPARK_WIDTH)
    heights = SPARK_HEIGHT - 2 - shares * (SPARK_HEIGHT - 4)
    return _path(left + wide / 2, heights, np.diff(starts_ms) > 1.5 * size_ms)


def _across(starts_ms: NDArray[np.int64], size_ms: int, width: int) -> tuple[NDArray[np.float64], float]:
    """Return the left edges of n windows, (n,) from 0 on, and their width, so that all fill a width."""
    scale = width / (int(starts_ms[-1]) + size_ms - int(starts_ms[0]))
    return (starts_ms - starts_ms[0]) * scale, size_ms * scale


def _extent(finite: NDArray[np.float64]) -> tuple[float, float]:
    low = min(float(finite.min(initial=0.0)), 0.0) * _HEADROOM
    high = max(float(finite.max(initial=0.0)), 0.0) * _HEADROOM
    return (low, high) if high - low > _LEAST_SPAN else (0.0, 1.0)


def _bands(
    numbers: NDArray[np.uint8], names: Mapping[int, str], left: NDArray[np.float64], wide: float
) -> Iterable[Band]:
    """Yield the stretches of equal numbers that have a name; a gap between windows ends one."""
    for begin, end in _stretches(numbers, left, wide):
        if (number := int(numbers[begin])) in names:
            yield Band(names[number], _round(left[begin]), _round(left[end - 1] + wide - left[begin]))


def _stretches(
    numbers: NDArray[np.uint8], left: NDArray[np.float64], wide: float
) -> Iterable[tuple[int, int]]:
    ends = (np.diff(numbers.astype(np.int64)) != 0) | (np.diff(left) > 1.5 * wide)
    # Without windows there is no stretch.
    return pairwise([0, *(np.flatnonzero(ends) + 1).tolist(), len(numbers)][: len(numbers) + 1])


def _path(x: NDArray[np.float64], y: NDArray[np.float64], gaps: NDArray[np.bool_]) -> str:
    parts = []
    is_down = False
    for at, (across, up) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        if up != up:  # noqa: PLR0124 - NaN, a window without this number
            is_down = False
            continue
        if at and gaps[at - 1]:
            is_down = False
        # A point without neighbours is a line without length, which its round ends show.
        parts.append(f"L{across:.1f} {up:.1f}" if is_down else f"M{across:.1f} {up:.1f}h0")
        is_down = True
    return "".join(parts)


def _limit_ticks(high: float, apart: float) -> Iterator[tuple[float, str]]:
    """Yield the roots of multiples of the limit, up to one root and apart by another, in words."""
    last = 0.0
    for times in (1, *_MULTIPLES):
        root = math.sqrt(times)
        # The limit is labelled whatever lies near it.
        if root <= high and (times == 1 or root - last >= apart):
            yield root, "drift from here" if times == 1 else f"{times:,} times the limit"
            last = root


def _nice_ticks(low: float, high: float, number: int) -> list[tuple[float, str]]:
    """Return about this number of round values between two, with their texts."""
    rough = (high - low) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    ticks = [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(tick, f"{tick:g}") for tick in ticks]


def _time_ticks(first_ms: int, end_ms: int, scale: float) -> tuple[Tick, ...]:
    """Return the ticks of the time axis; the first names the zone, and its date."""
    span = end_ms - first_ms
    longest = _TIME_STEPS_MS[-1] * math.ceil(span / _TIME_STEPS_MS[-1] / _TICKS_X)
    step = next((each for each in _TIME_STEPS_MS if span / each <= _TICKS_X), longest)
    # Weeks begin on Mondays; the epoch began on a Thursday.
    origin = _MONDAY_MS if step % _WEEK_MS == 0 else 0
    ticks: list[Tick] = []
    for at in range(origin - (origin - first_ms) // step * step, end_ms + 1, step):
        moment = datetime.fromtimestamp(at / _S_MS, UTC)
        day = f"{moment.day} {moment:%b}"
        text, below = (f"{moment:%H:%M}", f"{day} UTC") if at % _DAY_MS else (day, "UTC")
        ticks.append(Tick(_round(_LEFT + (at - first_ms) * scale), text, "" if ticks else below, at))
    return tuple(ticks)


def _round(value: float) -> float:
    return round(float(value), 1)
