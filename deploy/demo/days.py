"""A day of the story, its line in the table, and whether the days tell what they should."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deploy.demo.digits import Condition

from driftgauge.core.result import Verdict
from driftgauge.errors import DemoError
from driftgauge.events.timestamps import format_timestamp

__all__ = ["DAY_MS", "TABLE_HEAD", "Day", "check", "table_row", "week_rows"]

DAY_MS = 86_400_000

TABLE_HEAD = "  day         images     events  divergence  noise floor  accuracy  verdict"


@dataclass(frozen=True, slots=True)
class Day:
    """What was published on a day, and what the service made of it.

    Attributes:
        start_ms: The day's first millisecond, UTC.
        condition: What its images were like.
        published: How many events were sent.
        accuracy: The share of its images that the network read rightly; the service knows nothing of it.
        events: How many events the service counted.
        events_lost: The service says that events of the day may have been lost.
        js_divergence: The divergence that the service exported.
        noise_floor: The noise floor that the service exported.
        verdict: The verdict that the service exported.
    """

    start_ms: int
    condition: Condition
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
    """Return a day's line in the table."""
    return (
        f"  {day.date}  {day.condition:<9}{day.events:>8,}{day.js_divergence:>12.4f}"
        f"{day.noise_floor:>13.4f}{day.accuracy:>10.1%}  {day.verdict}"
    )


def week_rows(days: Sequence[Day]) -> list[str]:
    """Return a line for the mean of each week."""
    rows = []
    for condition, week in _weeks(days).items():
        divergence = sum(day.js_divergence for day in week) / len(week)
        accuracy = sum(day.accuracy for day in week) / len(week)
        floor = sum(day.noise_floor for day in week) / len(week)
        rows.append(
            f"  {condition:<9} mean divergence {divergence:.4f}, {divergence / floor:.1f} times the noise "
            f"floor; mean accuracy {accuracy:.1%}"
        )
    return rows


def check(days: Sequence[Day], outcomes: Mapping[str, int], mishaps: Mapping[str, int]) -> None:
    """Check that the story came true.

    These must hold: the service counted every day exactly the events published; it accepted as many
    events as were published in all, and rejected and lost none; and the highest divergence of the
    clean week is below the lowest of the blurred week, whose highest is below the lowest of the
    darkened week (so the means of the weeks are in that order as well).

    Args:
        days: All days, at least one under each condition.
        outcomes: The service's count of events by what became of them.
        mishaps: How often each thing happened that the demo's broker does not make good.

    Raises:
        DemoError: Lists everything that does not hold.
    """
    problems = [
        f"{day.date}: {day.events:,} events were counted, {day.published:,} were published"
        for day in days
        if day.events != day.published
    ]
    problems += [f"{day.date}: events may have been lost" for day in days if day.events_lost]
    published, accepted = sum(day.published for day in days), outcomes.get("accepted", 0)
    if accepted != published:
        problems.append(f"{published:,} events were published, and the service accepted {accepted:,}")
    problems += [
        f"the service rejected {number:,} events as {outcome}"
        for outcome, number in outcomes.items()
        if outcome != "accepted" and number
    ]
    problems += [f"{what}: {number:,}" for what, number in mishaps.items() if number]
    for (lower, below), (higher, above) in pairwise(_weeks(days).items()):
        highest = max(day.js_divergence for day in below)
        lowest = min(day.js_divergence for day in above)
        if highest >= lowest:
            problems.append(
                f"the highest divergence of the {lower} week, {highest:.4f}, is not below the lowest of "
                f"the {higher} week, {lowest:.4f}"
            )
    if problems:
        message = "the story did not come true:" + "".join(f"\n  - {problem}" for problem in problems)
        raise DemoError(message)


def _weeks(days: Sequence[Day]) -> dict[Condition, list[Day]]:
    return {condition: [day for day in days if day.condition is condition] for condition in Condition}
