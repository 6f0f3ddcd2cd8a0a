"""Faults of a shard: lost data, a topic created again, an append time that is ahead; and retired streams."""

import pytest

from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import DataLoss
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.specs import build_spec
from tests.core.shard import EVENTS, Shard, read_and_commit, run_for


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "touched"),
    [
        (None, None, [0, 100, 200, 300, 400]),
        (200, None, [200, 300, 400]),
        (199, None, [100, 200, 300, 400]),
        (None, 199, [0, 100]),
        (None, 200, [0, 100, 200]),
        (250, 320, [200, 300]),
        (250, 250, [200]),
    ],
)
def test_loss_affects_windows_that_may_lack_events(from_ms, to_ms, touched):
    loss = DataLoss(("embeddings", 0), from_ms, to_ms)
    windows = [Window(100, start_ms) for start_ms in (0, 100, 200, 300, 400)]
    assert [window.start_ms for window in windows if loss.affects(window)] == touched


@pytest.fixture
def shard():
    return Shard(build_spec(sizes_ms=(MINUTE_MS,)))


def test_replica_that_is_behind_brings_no_deleted_topic_back_after_restore(shard):
    run_for(shard, 2 * MINUTE_MS, 0)
    former, shard.ids[EVENTS] = shard.ids[EVENTS], "new"
    shard.ends.clear()
    run_for(shard, MINUTE_MS, 0)
    shard.restart()
    ends = dict(shard.ends)
    shard.write(producer="behind", topic_id=former, start=900, end=950, begins=False)
    shard.ends = ends
    assert len(run_for(shard, 3 * MINUTE_MS, 0)) >= 2
    assert shard.chain == (0, 0, 0)
    assert shard.state.sources.topics[EVENTS].topic_id == "new"


def test_append_time_ahead_holds_up_no_window(shard):
    run_for(shard, 2 * MINUTE_MS, 0)
    run_for(shard, 1, 0, append_ms=shard.now_ms + 6 * HOUR_MS)
    shard.restart()
    assert len(run_for(shard, 3 * MINUTE_MS, 0)) >= 2
    assert shard.state.position.log_ms == shard.now_ms - 5_000


def test_accepted_loss_marks_what_may_have_begun_before():
    """Windows of streams that are known, of streams whose state is gone, and none that begins later."""
    spec, other = build_spec(lateness_ms=10 * HOUR_MS), build_spec("texts", lateness_ms=10 * HOUR_MS)
    shard = Shard(spec, other, build_spec("unrelated"), now_ms=MONDAY_MS + 2 * HOUR_MS)
    shard.read(at(0.2), at(1.5))
    read_and_commit(shard, at(1.2), stream="texts")
    shard.changelog = {key: value for key, value in shard.changelog.items() if b'"texts"' not in key}
    shard.restart()
    shard.state.accept_loss(lead_ms=0)
    for hour in (1, 2, 3, 4.5):
        shard.now_ms = MONDAY_MS + int(hour * HOUR_MS)
        shard.read(at(hour + 0.4))
        results = read_and_commit(shard, at(hour + 0.4), stream="texts")
        for result in results:
            begun_before = result.window.start_ms <= MONDAY_MS + 2 * HOUR_MS
            assert result.events_lost is begun_before, result.window
    assert {result.stream for result in results} == {"images", "texts"}
    shard.now_ms += 8 * DAY_MS
    shard.commit()
    read_and_commit(shard, at(0.1), stream="unrelated")
    assert shard.status("unrelated").losses == (), "so long after a loss a new stream is just new"


def test_accepted_loss_marks_windows_of_events_that_were_ahead():
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,)))
    read_and_commit(shard, (shard.now_ms + 3 * MINUTE_MS, 0), credible_ms=[shard.now_ms])
    shard.changelog = {key: value for key, value in shard.changelog.items() if b'"pane"' not in key}
    shard.restart()
    shard.state.accept_loss(lead_ms=5 * MINUTE_MS)
    for minutes in (3, 4, 6, 9):
        shard.read((shard.now_ms + minutes * MINUTE_MS, 0))
    results = {result.window.start_ms - shard.now_ms: result.events_lost for result in shard.commit()}
    assert results == {3 * MINUTE_MS: True, 4 * MINUTE_MS: True, 6 * MINUTE_MS: False}
