"""A short chaos run: every kind of disruption once, two of them at a time, and every count exact."""

from pathlib import Path

import pytest

from tests.chaos.report import line, summary
from tests.chaos.scenario import Options, run_chaos
from tests.kafka.broker import Broker
from tests.kafka.fixtures import ExternalCluster

pytestmark = pytest.mark.integration

# Seven kinds, and a pair that overlaps; with time to recover in on a busy machine.
OPTIONS = Options(events=80_000, disruptions=9, seconds=230.0, seed=1)


def test_every_count_is_exact_whatever_is_killed_paused_and_restarted(
    tmp_path: Path, kafka_broker: Broker | ExternalCluster
) -> None:
    if isinstance(kafka_broker, ExternalCluster):
        kafka_broker.stop()  # it skips
    lines: list[str] = []
    try:
        report = run_chaos(kafka_broker, tmp_path, OPTIONS, lambda outcome: lines.append(line(outcome)))
    finally:
        if not kafka_broker.running:
            kafka_broker.restart()
    assert report.passed, "\n".join([*lines, summary(report)])
