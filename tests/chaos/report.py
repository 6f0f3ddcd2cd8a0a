"""Formats a chaos run as text: the disruptions, the recovery times and the checks."""

from statistics import median
from typing import Final

from tests.chaos.disruptions import DisruptionOutcome
from tests.chaos.options import Options
from tests.chaos.scenario import Report

MISMATCHES_SHOWN: Final = 10
MISMATCH_LENGTH: Final = 300
HEADING: Final = f"{'at':>6}    {'target':23} {'disruption':28} {'recovery':>9}"


def heading(options: Options) -> str:
    """Return the run's options and the table's header; `line` returns a row."""
    return (
        f"{options.events:,} events over {options.seconds / 60:g} min, {options.disruptions} disruptions, "
        f"brokers {options.profile.brokers}, "
        f"seed {options.seed}; + marks disruptions that overlap\n"
        f"{HEADING}"
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
    """Return the recovery times, each check with its mismatches, and whether the run passed."""
    lines = []
    if report.recoveries_s:
        p50, worst = median(report.recoveries_s), max(report.recoveries_s)
        lines.append(f"recovery: p50 {p50:.1f} s, worst {worst:.1f} s")
    for check in report.checks:
        wrong = len(check.mismatches)
        lines.append(
            f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.checked:,} checked, {wrong:,} wrong"
        )
        lines += [f"       {mismatch[:MISMATCH_LENGTH]}" for mismatch in check.mismatches[:MISMATCHES_SHOWN]]
        if wrong > MISMATCHES_SHOWN:
            lines.append(f"       and {wrong - MISMATCHES_SHOWN:,} more")
    verdict = "passed" if report.passed else "FAILED"
    lines.append(f"{verdict} in {report.elapsed_s / 60:.1f} min, seed {report.options.seed}")
    return "\n".join(lines)
