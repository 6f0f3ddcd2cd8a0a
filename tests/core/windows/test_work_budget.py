"""The work budget of a closing round."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.reference import SegmentReference
from driftgauge.core.windows import work_budget
from tests.builders.batches import at
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.references import CLUSTERS, RICH, build_segment_arrays
from tests.builders.results import plain
from tests.builders.specs import ALARM, build_spec
from tests.core.judging.judged_stream import MOVED, QUIET
from tests.core.shard import Shard


def rich_spec(**changes):
    return build_spec(**{"reference": RICH, **changes})


def read_hours(shard, *windows, last):
    """Read hours with these counts, and an event after them."""
    events = [
        at(hour, cluster)
        for hour, counts in enumerate(windows)
        for cluster in range(CLUSTERS)
        for _ in range(counts[cluster])
    ]
    shard.read(*events, at(last), baseline=RICH.key)


@pytest.mark.parametrize(
    ("besides", "segment_keys", "work", "a_round"),
    [
        (0, (), 4 * CLUSTERS, 4),
        (0, (), 4 * CLUSTERS - 1, 3),
        (0, ("country",), 4 * CLUSTERS, 2),
        (CLUSTERS, (), 4 * CLUSTERS, 2),
        (0, ("country",), 1, 1),
    ],
)
def test_round_stops_at_work_budget_and_next_continues(monkeypatch, besides, segment_keys, work, a_round):
    monkeypatch.setattr(work_budget, "_WORK_BESIDES_CLUSTERS", besides)
    part = SegmentReference("country", "other", RICH.counts, np.zeros(2), np.eye(2), build_segment_arrays())
    reference = replace(RICH, segments=(part,))
    windows = (MOVED, QUIET, MOVED, QUIET)
    alarm = replace(ALARM, segment_keys=segment_keys)
    at_once = Shard(rich_spec(reference=reference, alarm=alarm))
    read_hours(at_once, *windows, last=400)
    expected = at_once.commit()
    monkeypatch.setattr(work_budget, "_MAX_WORK", work)
    by_rounds = Shard(rich_spec(reference=reference, alarm=alarm))
    read_hours(by_rounds, *windows, last=400)
    found = []
    while results := by_rounds.commit() if not found else by_rounds.close():
        assert len(results) == min(a_round, 4 - len(found))
        found += results
        if len(found) < 4:
            assert by_rounds.status().final_ms <= results[-1].window.end_ms
    assert [plain(result) for result in found] == [plain(result) for result in expected]
    assert by_rounds.status().final_ms == at_once.status().final_ms == MONDAY_MS + 399 * HOUR_MS


def test_streams_share_work_budget_of_round(monkeypatch):
    specs = [build_spec(name) for name in ("images", "sounds", "texts")]
    shards = Shard(*specs), Shard(*specs)
    for shard in shards:
        for spec in specs:
            shard.read(*[at(hour) for hour in range(4)], at(50), stream=spec.name)
    expected = shards[0].commit()
    assert len(expected) == 12
    work = shards[0].state._closer("images")._work
    monkeypatch.setattr(work_budget, "_MAX_WORK", 5 * work)
    rounds = [shards[1].commit()]
    while results := shards[1].close():
        rounds.append(results)
    assert [len(results) for results in rounds] == [5, 5, 2]
    found = [result for results in rounds for result in results]
    assert sorted(str(plain(result)) for result in found) == sorted(str(plain(result)) for result in expected)
    assert {shards[1].status(spec.name).final_ms for spec in specs} == {MONDAY_MS + 49 * HOUR_MS}
