"""Tests of `deploy.demo.scrape`."""

from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.windows.shard import ShardState
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.record_loss import RecordLoss
from driftgauge.telemetry.roles import RoleTelemetry
from tests.harness.demo import Scrape

SHARDS = 4


@pytest.fixture
def telemetry():
    """The telemetry of a replica of both roles that watches no stream."""
    roles, health = tuple(Role), Health(tuple(Role), SYSTEM_CLOCK)
    return Telemetry("0.1.0", [], ["embeddings"], "partials", health, roles, SYSTEM_CLOCK)


def scrape_of(telemetry):
    return Scrape.parse(generate_latest(telemetry.registry).decode())


def test_outcomes_and_mishaps_are_sums_of_the_service_exposition(telemetry):
    count, windows = (RoleTelemetry(telemetry, role, SHARDS) for role in Role)
    count.committed()
    before = scrape_of(telemetry)
    assert set(before.outcomes().values()) == set(before.mishaps().values()) == {0}
    rejected = {("embeddings", "images", Reason.FUTURE): 3, ("embeddings", None, Reason.UNDECODABLE): 4}
    count.counted({"images": 100, "texts": 20}, rejected, {("embeddings", 0): RecordLoss(40, 0)})
    count.counted({}, {}, {("embeddings", 0): RecordLoss(2, 0)})
    for shard, (gaps, overlaps) in enumerate([(1, 2), (4, 0)]):
        state = ShardState([], ["embeddings"], SHARDS)
        state.position = replace(state.position, gaps=gaps, overlaps=overlaps)
        windows.show(shard, state)
    count.aborted("fenced")
    for role in (count, windows, windows):
        role.session_lost("an outage", 0.5)
    scrape = scrape_of(telemetry)
    assert scrape.value("driftgauge_events_total", stream="images") == 100
    assert scrape.outcomes() == {"accepted": 120, "future": 3, "undecodable": 4}
    assert list(scrape.mishaps().values()) == [42, 7, 1, 3]
