"""A short chaos run: every kind of disruption, two at a time, with exact counts."""

import os
from pathlib import Path

import pytest

from tests.chaos.plan import SHORT, Options
from tests.chaos.report import Status, line, summary
from tests.chaos.run import run_chaos
from tests.harness.fixtures import running
from tests.harness.topics import BOOTSTRAP_VARIABLE

pytestmark = pytest.mark.broker

# Eight kinds and one overlapping pair, with time to recover on a busy machine.
OPTIONS = Options(events=20_000, disruptions=10, seconds=90.0, seed=1, profile=SHORT)


@pytest.mark.skipif(BOOTSTRAP_VARIABLE in os.environ, reason=f"stops brokers: unset {BOOTSTRAP_VARIABLE}")
def test_counts_stay_exact_through_disruptions(tmp_path: Path) -> None:
    lines: list[str] = []
    with running(OPTIONS.make_cluster) as cluster:
        report = run_chaos(cluster, tmp_path, OPTIONS, lambda outcome: lines.append(line(outcome)))
    assert report.status is Status.PASSED, "\n".join([*lines, summary(report)])
