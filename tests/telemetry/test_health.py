"""Tests of `driftgauge.telemetry.health`."""

import logging

import pytest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from tests.builders.telemetry import make_ready


@pytest.fixture
def health(clock):
    return Health([Role.COUNT, Role.WINDOWS], clock.clock, poll_bound_ms=60_000)


def test_process_with_polling_roles_is_alive(health, clock):
    clock.advance(60)
    health.polled(Role.COUNT)
    health.polled(Role.WINDOWS)
    clock.advance(60)
    assert health.is_alive()
    assert health.since_poll_ms() == 60_000


@pytest.mark.parametrize("silent", list(Role))
def test_process_with_one_role_that_stops_polling_is_not_alive(health, clock, silent):
    clock.advance(60.001)
    (other,) = set(Role) - {silent}
    health.polled(other)
    assert not health.is_alive()
    assert health.since_poll_ms() == 60_001
    health.polled(silent)
    assert health.is_alive()


def test_time_before_first_poll_is_bounded(health, clock):
    assert health.is_alive()
    clock.advance(60.001)
    assert not health.is_alive()


def test_unserved_role_need_not_poll(clock):
    health = Health([Role.COUNT], clock.clock, poll_bound_ms=60_000)
    clock.advance(60.001)
    health.polled(Role.COUNT)
    assert health.is_alive()


def test_conditions_cover_served_roles_only():
    assert set(Health([Role.COUNT, Role.WINDOWS], SYSTEM_CLOCK).conditions) == set(ReadinessCondition)
    assert set(Health([Role.WINDOWS], SYSTEM_CLOCK).conditions) == set(ReadinessCondition) - {
        ReadinessCondition.COUNT
    }
    assert Health([Role.WINDOWS], SYSTEM_CLOCK).missing() == [
        ReadinessCondition.BASELINES_LOADED,
        ReadinessCondition.WINDOWS,
    ]


def test_only_clock_condition_is_met_at_start(health):
    assert health.missing() == sorted(set(ReadinessCondition) - {ReadinessCondition.CLOCK})


@pytest.mark.parametrize("missing", list(ReadinessCondition))
def test_readiness_needs_every_condition(health, missing):
    make_ready(health)
    assert health.missing() == []
    health.set_condition(missing, is_met=False)
    assert health.missing() == [missing]


def test_clock_offset_does_not_end_liveness(health):
    make_ready(health)
    health.set_condition(ReadinessCondition.CLOCK, is_met=False)
    assert health.is_alive()


@pytest.fixture
def readiness_changes(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: [(record.getMessage(), record.missing) for record in caplog.records]


def test_only_changes_of_readiness_are_logged(health, readiness_changes):
    for _ in range(2):
        make_ready(health)
    health.set_condition(ReadinessCondition.COUNT, is_met=False)
    health.set_condition(ReadinessCondition.CLOCK, is_met=False)
    make_ready(health, ReadinessCondition.COUNT)
    assert readiness_changes() == [("ready", []), ("not ready", ["count"])]
    make_ready(health, ReadinessCondition.CLOCK)
    assert readiness_changes()[2:] == [("ready", [])]
