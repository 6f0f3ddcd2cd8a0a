"""The alarm of a window size follows from published results, whatever else the stream keeps or revises."""

from dataclasses import replace

import pytest

from driftgauge.core.judging.verdict import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import FIRST, measured
from tests.builders.specs import ALARM, build_spec
from tests.core.shard import Shard

CLEAN = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3) * 20
MOVED = (3,) * 200
SENSITIVE = replace(ALARM, level=0.001)


def shard_of(**changes):
    return Shard(
        build_spec(reference=measured(FIRST), alarm=SENSITIVE, min_events=20, lateness_ms=DAY_MS, **changes)
    )


def send(shard, hour, clusters, **columns):
    """Read one event of each cluster within an hour, and commit; return the verdicts published."""
    shard.read(*(at(hour + number / 10_000, cluster) for number, cluster in enumerate(clusters)), **columns)
    return [(result.window.start_ms // HOUR_MS % 24, result.verdict.value) for result in shard.commit()]


def has_alarm(shard):
    (_, _, conclusive) = take_snapshot(shard.state, ["images"]).streams["images"]
    return conclusive[HOUR_MS].verdict is Verdict.DRIFT


@pytest.mark.parametrize("is_restarted", [False, True])
def test_late_events_that_revise_last_conclusive_window_raise_alarm(is_restarted):
    shard = shard_of()
    send(shard, 0, MOVED)
    send(shard, 1, CLEAN)
    send(shard, 2, (0,) * 5)
    assert send(shard, 3, (0,) * 5) == [(2, "insufficient")]
    assert not has_alarm(shard)
    if is_restarted:
        shard.restart()
    assert send(shard, 1.5, MOVED * 5) == [(1, "drift")]
    assert has_alarm(shard)


def test_alarm_falls_back_to_final_window_when_later_one_concludes_nothing_any_more():
    shard = shard_of()
    for hour, clusters in enumerate((MOVED, MOVED, CLEAN, CLEAN)):
        send(shard, hour, clusters)
    # The windows with drift are final, and the one that ended the alarm is not.
    send(shard, 27.5, CLEAN)
    assert not has_alarm(shard)
    shard.restart()
    shard.ends["embeddings", 0] -= 1
    assert (3, "incomplete") in send(shard, 3.5, CLEAN), "an overlap marks the hour as counted twice"
    assert has_alarm(shard)
