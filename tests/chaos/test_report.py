"""The status of a run: wrong counts are told from a machine that fails."""

import pytest

from tests.chaos.checks import Check
from tests.chaos.options import Options
from tests.chaos.report import Finding, Report, Status, summary

OPTIONS = Options(events=1, disruptions=0, seconds=1.0, seed=1)
RIGHT, WRONG = Check("right", 1), Check("wrong", 1, ["1, not 2"])


@pytest.mark.parametrize(
    ("report", "finding", "status"),
    [
        (Report(OPTIONS, checks=[RIGHT], is_checked=True), Finding.EXACT, Status.PASSED),
        (Report(OPTIONS, checks=[RIGHT, WRONG], is_checked=True), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, problems=["slow"]), Finding.EXACT, Status.MACHINE),
        (Report(OPTIONS, checks=[WRONG], problems=["slow"]), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, failures=["ended"]), Finding.EXACT, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT]), Finding.UNCHECKED, Status.MACHINE),
    ],
    ids=["passed", "wrong", "slow", "wrong and slow", "replica failed", "not all checked"],
)
def test_status_and_verdict(report: Report, finding: Finding, status: Status) -> None:
    assert (report.finding, report.status) == (finding, status)
    verdict = summary(report).splitlines()[-1]
    assert f"counts: {finding};" in verdict
    assert verdict.startswith("passed") == (status is Status.PASSED)
