"""One day of the demo, its row in the table, and the check of all days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deploy.demo.digits import ImageQuality
from deploy.demo.errors import DemoError

from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp

__all__ = ["DAY_MS", "EVENTS_PER_DAY", "TABLE_HEAD", "Day", "check", "table_row", "week_rows"]

DAY_MS = 86_400_000
EVENTS_PER_DAY = 1_000

TABLE_HEAD = "  day         images     events  divergence  noise floor  accuracy  verdict"


@dataclass(frozen=True, slots=True)
class Day:
    """What was published on a day, and what the service reported for it.

    Attributes:
        start_ms: The day's first millisecond, UTC.
        quality: The quality of its images.
        published: How many events were sent.
        accuracy: The share of its images that the network classified correctly; the service never sees it.
        events: How many events the service counted.
        events_lost: The service reports that events of the day may be lost.
        js_divergence: The divergence that the service exported.
        noise_floor: The noise floor that the service exported.
        verdict: The verdict that the service exported.
    """

    start_ms: int
    quality: ImageQuality
    published: int
    accuracy: float
    events: int
    events_lost: bool
    js_divergence: float
    noise_floor: float
    verdict: Verdict

    @property
    def date(self) -> str:
        """The day as 2025-11-03."""
        return format_timestamp(self.start_ms)[:10]


def table_row(day: Day) -> str:
    """Return a day's row of the table."""
    return (
        f"  {day.date}  {day.quality:<9}{day.events:>8,}{day.js_divergence:>12.4f}"
        f"{day.noise_floor:>13.4f}{day.accuracy:>10.1%}  {day.verdict}"
    )


def week_rows(days: Sequence[Day]) -> list[str]:
    """Return one row per week: its mean divergence, against the noise floor, and its mean accuracy."""
    rows = []
    for quality, week in _weeks(days).items():
        divergence = sum(day.js_divergence for day in week) / len(week)
        accuracy = sum(day.accuracy for day in week) / len(week)
        floor = sum(day.noise_floor for day in week) / len(week)
        rows.append(
            f"  {quality:<9} mean divergence {divergence:.4f}, {divergence / floor:.1f} times the noise "
            f"floor; mean accuracy {accuracy:.1%}"
        )
    return rows


def check(days: Sequence[Day], outcomes: Mapping[str, int], mishaps: Mapping[str, int]) -> None:
    """Check that the demo's results are as expected.

    - For every day the service counted exactly the events published.
    - In total the service accepted every event published; it rejected and lost none.
    - Every divergence of a week is below every divergence of the next week.

    Args:
        days: All days, at least one of each quality.
        outcomes: The service's event counts by outcome.
        mishaps: Counts of faults from which the embedded broker cannot recover.

    Raises:
        DemoError: The message lists every violation.
    """
    problems = [
        f"{day.date}: {day.events:,} events were counted, {day.published:,} were published"
        for day in days
        if day.events != day.published
    ]
    problems += [f"{day.date}: events may be lost" for day in days if day.events_lost]
    published, accepted = sum(day.published for day in days), outcomes.get("accepted", 0)
    if accepted != published:
        problems.append(f"{published:,} events were published, and the service accepted {accepted:,}")
    problems += [
        f"the service rejected {number:,} events as {outcome}"
        for outcome, number in outcomes.items()
        if outcome != "accepted" and number
    ]
    problems += [f"{mishap}: {number:,}" for mishap, number in mishaps.items() if number]
    for (lower, below), (higher, above) in pairwise(_weeks(days).items()):
        highest = max(day.js_divergence for day in below)
        lowest = min(day.js_divergence for day in above)
        if highest >= lowest:
            problems.append(
                f"the highest divergence of the {lower} week, {highest:.4f}, is not below the lowest of "
                f"the {higher} week, {lowest:.4f}"
            )
    if problems:
        message = "the demo's results are not as expected:" + "".join(
            f"\n  - {problem}" for problem in problems
        )
        raise DemoError(message)


def _weeks(days: Sequence[Day]) -> dict[ImageQuality, list[Day]]:
    return {quality: [day for day in days if day.quality is quality] for quality in ImageQuality}
