"""The report of a chaos run: what was disrupted, checked and found, and its text."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from statistics import median
from typing import Final

from tests.chaos.checks import Check
from tests.chaos.disruptions import DisruptionOutcome
from tests.chaos.plan import Options

MISMATCHES_SHOWN: Final = 10


class Finding(StrEnum):
    """What the checks found."""

    EXACT = "exact"
    WRONG = "wrong"
    UNCHECKED = "not checked"


class Status(IntEnum):
    """The exit status of a run."""

    PASSED = 0
    FAILED = 1
    MACHINE = 2


@dataclass
class Report:
    """What is known of a run.

    Attributes:
        options: The options of the run.
        outcomes: The disruptions, in order.
        checks: The checks.
        is_checked: Whether all checks were made.
        failures: Unexpected behaviour of replicas, such as one that exits by itself.
        dead_clients: The replicas that ended because a Kafka client stood still, as they are to do.
        problems: What the machine or the run itself failed to do, and what was too slow.
        elapsed_s: The duration of the run.
    """

    options: Options
    outcomes: list[DisruptionOutcome] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    is_checked: bool = False
    failures: list[str] = field(default_factory=list)
    dead_clients: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Record an exception as a problem and go on, because it says nothing about the counts."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever fails, the counts are checked if possible
            traceback.print_exc()
            self.problems.append(f"{what} failed: {error!r}")

    @property
    def finding(self) -> Finding:
        if not all(check.passed for check in self.checks):
            return Finding.WRONG
        return Finding.EXACT if self.is_checked else Finding.UNCHECKED

    @property
    def status(self) -> Status:
        if self.finding is Finding.WRONG or self.failures:
            return Status.FAILED
        return Status.MACHINE if self.problems or self.finding is Finding.UNCHECKED else Status.PASSED


def heading(options: Options) -> str:
    """Return the run's options and the table's header; `line` returns a row."""
    return (
        f"{options.events:,} events over {options.seconds / 60:g} min, {options.disruptions} disruptions, "
        f"brokers {options.profile.brokers}, busy loops {options.busy}, "
        f"seed {options.seed}; + marks disruptions that overlap\n"
        f"{'at':>6}    {'target':23} {'disruption':28} {'recovery':>9}"
    )


def line(outcome: DisruptionOutcome) -> str:
    minutes, seconds = divmod(round(outcome.at_s), 60)
    recovery = "none" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    disruption = outcome.disruption
    return (
        f"{minutes:3}:{seconds:02} {'+' if outcome.overlaps else ' '}  "
        f"{disruption.target:23} {disruption.kind.value:28} {recovery:>9}"
    )


def summary(report: Report) -> str:
    """Return the recovery times, each check with its mismatches, and the verdict as the last line."""
    lines = []
    if recoveries_s := [each.recovery_s for each in report.outcomes if each.recovery_s is not None]:
        lines.append(f"recovery: p50 {median(recoveries_s):.1f} s, worst {max(recoveries_s):.1f} s")
    for check in report.checks:
        wrong = len(check.mismatches)
        lines.append(
            f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.checked:,} checked, {wrong:,} wrong"
        )
        lines += [f"       {mismatch[:300]}" for mismatch in check.mismatches[:MISMATCHES_SHOWN]]
        if wrong > MISMATCHES_SHOWN:
            lines.append(f"       and {wrong - MISMATCHES_SHOWN:,} more")
    lines += [
        f"client: {replica}, since one of its Kafka clients stood still" for replica in report.dead_clients
    ]
    lines += [f"replica: {failure}" for failure in report.failures]
    lines += [f"machine: {problem}" for problem in report.problems]
    lines.append(
        f"{'passed' if report.status is Status.PASSED else 'FAILED'} in {report.elapsed_s / 60:.1f} min, "
        f"seed {report.options.seed}, busy loops {report.options.busy}; counts: {report.finding}; "
        f"replicas: {_number(report.failures)}; machine: {_number(report.problems)}"
    )
    return "\n".join(lines)


def _number(found: list[str]) -> str:
    return f"{len(found)} listed above" if found else "no problem"
