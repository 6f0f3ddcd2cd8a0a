"""Tests of `deploy.demo.scrape`."""

from dataclasses import replace

import pytest
from deploy.demo.scrape import Scrape
from prometheus_client import generate_latest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.windows.shard import ShardState
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.record_loss import RecordLoss
from driftgauge.telemetry.roles import RoleTelemetry

SHARDS = 4


class ServiceTelemetry:
    """The telemetry of a replica of both roles that watches no stream."""

    def __init__(self):
        roles, health = tuple(Role), Health(tuple(Role), SYSTEM_CLOCK)
        self.telemetry = Telemetry("0.1.0", [], ["embeddings"], "partials", health, roles, SYSTEM_CLOCK)
        self.count, self.windows = (RoleTelemetry(self.telemetry, role, SHARDS) for role in Role)

    def exposition(self):
        return generate_latest(self.telemetry.registry).decode()

    def scrape(self):
        return Scrape.parse(self.exposition())


@pytest.fixture
def service():
    return ServiceTelemetry()


def test_scrape_reads_service_exposition(service):
    rejected = {("images", Reason.FUTURE): 3, (None, Reason.UNDECODABLE): 4}
    service.count.counted({"images": 100, "texts": 20}, rejected, {})
    text = service.exposition()
    scrape = Scrape.parse(text)
    assert scrape.text == text
    assert scrape.value("driftgauge_events_total", stream="images", outcome="accepted") == 100
    outcomes = {outcome: number for outcome, number in scrape.outcomes().items() if number}
    # Of a stream that is not configured the name is no label.
    assert outcomes == {"accepted": 120, "future": 3, "undecodable": 4}


def test_outcomes_without_events_are_zero(service):
    outcomes = service.scrape().outcomes()
    assert outcomes["undecodable"] == 0
    assert all(number == 0 for number in outcomes.values())


def test_mishaps_sum_losses_aborts_and_lost_sessions(service):
    service.count.committed()
    service.windows.committed()
    assert set(service.scrape().mishaps().values()) == {0}
    for lost in (40, 2):
        service.count.counted({}, {}, {("embeddings", 0): RecordLoss(lost, 0)})
    for shard, (gaps, overlaps) in enumerate([(1, 2), (4, 0)]):
        state = ShardState([], ["embeddings"], SHARDS)
        state.position = replace(state.position, gaps=gaps, overlaps=overlaps)
        service.windows.show(shard, state)
    service.count.aborted("fenced")
    for role in (service.count, service.windows, service.windows):
        role.session_lost("an outage", 0.5)
    assert list(service.scrape().mishaps().values()) == [42, 7, 1, 3]


def test_value_matches_all_labels_in_any_order():
    scrape = Scrape.parse('# TYPE a gauge\na{x="1",y="2"} 5\n')
    assert scrape.value("a", y="2", x="1") == 5
    assert scrape.value("a", x="1") is None
    assert scrape.value("a") is None
    assert scrape.value("b", x="1", y="2") is None


def test_empty_scrape_has_no_outcomes():
    assert Scrape.parse("").outcomes() == {}
    assert set(Scrape.parse("").mishaps().values()) == {0}
