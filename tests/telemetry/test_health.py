import logging

import pytest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from tests.kafka.parts import StandingClock
from tests.telemetry.builders import make_ready


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def health(clock):
    return Health([Role.COUNT, Role.WINDOWS], clock.clock, poll_bound_ms=60_000)


def test_loops_that_poll_are_alive(health, clock):
    clock.move(60)
    health.polled(Role.COUNT)
    health.polled(Role.WINDOWS)
    clock.move(60)
    assert health.is_alive()
    assert health.since_poll_ms() == 60_000


@pytest.mark.parametrize("still", list(Role))
def test_one_loop_that_stands_still_is_not_alive_whatever_the_other_does(health, clock, still):
    clock.move(60.001)
    (other,) = set(Role) - {still}
    health.polled(other)
    assert not health.is_alive()
    assert health.since_poll_ms() == 60_001
    health.polled(still)
    assert health.is_alive()


def test_the_time_before_the_first_poll_is_bounded_too(health, clock):
    assert health.is_alive()
    clock.move(60.001)
    assert not health.is_alive()


def test_a_role_that_is_not_served_need_not_poll(clock):
    health = Health([Role.COUNT], clock.clock, poll_bound_ms=60_000)
    clock.move(60.001)
    health.polled(Role.COUNT)
    assert health.is_alive()


def test_the_conditions_are_those_of_the_roles_that_are_served():
    assert set(Health([Role.COUNT, Role.WINDOWS], SYSTEM_CLOCK).conditions) == set(ReadinessCondition)
    assert set(Health([Role.WINDOWS], SYSTEM_CLOCK).conditions) == set(ReadinessCondition) - {
        ReadinessCondition.COUNT
    }
    assert Health([Role.WINDOWS], SYSTEM_CLOCK).missing() == [
        ReadinessCondition.BASELINES_LOADED,
        ReadinessCondition.WINDOWS,
    ]


def test_nothing_is_ready_at_the_start_but_the_clock_until_it_is_found_to_be_off(health):
    assert health.missing() == sorted(set(ReadinessCondition) - {ReadinessCondition.CLOCK})


@pytest.mark.parametrize("missing", list(ReadinessCondition))
def test_readiness_needs_every_condition(health, missing):
    make_ready(health)
    assert health.missing() == []
    health.set_condition(missing, is_met=False)
    assert health.missing() == [missing]


def test_a_clock_that_is_off_is_no_reason_for_a_restart(health):
    make_ready(health)
    health.set_condition(ReadinessCondition.CLOCK, is_met=False)
    assert health.is_alive()


@pytest.fixture
def turns(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: [(record.getMessage(), record.missing) for record in caplog.records]


def test_only_the_turns_of_readiness_are_logged(health, turns):
    for _ in range(2):
        make_ready(health)
    health.set_condition(ReadinessCondition.COUNT, is_met=False)
    health.set_condition(ReadinessCondition.CLOCK, is_met=False)
    make_ready(health, ReadinessCondition.COUNT)
    assert turns() == [("ready", []), ("not ready", ["count"])]
    make_ready(health, ReadinessCondition.CLOCK)
    assert turns()[2:] == [("ready", [])]
