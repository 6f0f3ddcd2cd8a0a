"""The demo's picture: divergence and accuracy over three weeks."""

from collections.abc import Sequence
from pathlib import Path

from deploy.demo.days import Day
from deploy.demo.digits import ImageQuality
from deploy.demo.errors import DemoError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter
except ModuleNotFoundError as error:
    _message = "the demo draws with matplotlib, which is missing; run: pip install 'driftgauge[pictures]'"
    raise DemoError(_message) from error

__all__ = ["draw"]

_INCHES = (10.0, 6.4)
_MARGIN_INCHES = 0.15
_DOTS_PER_INCH = 120
_SHADES = {ImageQuality.CLEAN: "#e8f3ea", ImageQuality.BLURRED: "#fdf3dc", ImageQuality.DARKENED: "#e4e4ec"}
_DIVERGENCE = "#b5302a"
_ACCURACY = "#1f5f99"
_GREY = "#555555"
_DARK = "#222222"
# Room for the week labels above the highest point.
_HEADROOM = 1.3


def draw(days: Sequence[Day], path: Path) -> None:
    """Write the picture of the days, which are in order, as a PNG file.

    Raises:
        DemoError: The file cannot be written.
    """
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    figure.suptitle("Embeddings of handwritten digits against their baseline, one window a day", fontsize=15)
    middles = [index + 0.5 for index in range(len(days))]
    for axes in (upper, lower):
        _shade_weeks(axes, days)
        axes.tick_params(labelsize=11)
        axes.grid(axis="y", color="white", linewidth=1.2)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)

    floors = [day.noise_floor for day in days]
    upper.plot(
        middles, floors, "--", color=_GREY, linewidth=2, label=f"noise floor ({max(floors):.3f})", zorder=2.5
    )
    divergences = [day.js_divergence for day in days]
    # Without clipping, points on the axis are drawn whole.
    upper.plot(middles, divergences, "o-", color=_DIVERGENCE, label="divergence", clip_on=False, zorder=3)
    upper.set_ylim(0, _HEADROOM * max(divergences))
    upper.set_ylabel("Jensen-Shannon\ndivergence (0 to 1)", fontsize=12)
    upper.legend(loc="center left", fontsize=11, framealpha=1)
    _label_weeks(upper, days)

    lower.plot(middles, [day.accuracy for day in days], "s-", color=_ACCURACY, clip_on=False, zorder=3)
    lower.set_ylim(0, 1.05)
    lower.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    lower.set_ylabel("accuracy of\nthe network", fontsize=12)
    lower.set_xlim(0, len(days))
    lower.set_xticks(middles[::2], [day.date[5:] for day in days[::2]])
    lower.set_xlabel(f"event time: month and day of {days[0].date[:4]}, UTC", fontsize=12)
    figure.align_ylabels()
    try:
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=_MARGIN_INCHES)
    except OSError as error:
        message = f"{path}: cannot write the picture: {error.strerror}; name a folder you may write to"
        raise DemoError(message) from error


def _spans(days: Sequence[Day]) -> list[tuple[ImageQuality, int, int]]:
    """Return each run of days of one quality: (quality, index of the first day, index after the last)."""
    starts = [
        index for index in range(len(days)) if not index or days[index].quality != days[index - 1].quality
    ]
    return [
        (days[start].quality, start, end) for start, end in zip(starts, [*starts[1:], len(days)], strict=True)
    ]


def _shade_weeks(axes: Axes, days: Sequence[Day]) -> None:
    for quality, start, end in _spans(days):
        axes.axvspan(start, end, color=_SHADES[quality], linewidth=0, zorder=0)


def _label_weeks(axes: Axes, days: Sequence[Day]) -> None:
    for week, (quality, start, end) in enumerate(_spans(days), start=1):
        mean = sum(day.js_divergence for day in days[start:end]) / (end - start)
        axes.text(
            (start + end) / 2,
            0.97,
            f"week {week}: {quality} images\nmean {mean:.3f}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=12.5,
            color=_DARK,
        )
