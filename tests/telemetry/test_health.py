import logging

import pytest

from driftgauge.telemetry.health import Condition, Health


class Clock:
    def __init__(self):
        self.now_ms = 5_000

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock, poll_bound_ms=60_000)


def test_a_loop_that_polls_is_alive(health, clock):
    clock.now_ms += 60_000
    health.polled()
    clock.now_ms += 60_000
    assert health.is_alive()
    assert health.since_poll_ms() == 60_000


def test_a_loop_that_stands_still_is_not_alive(health, clock):
    health.polled()
    clock.now_ms += 60_001
    assert not health.is_alive()


def test_a_loop_that_moves_again_is_alive_again(health, clock):
    clock.now_ms += 60_001
    health.polled()
    assert health.is_alive()


def test_the_time_before_the_first_poll_is_bounded_too(health, clock):
    assert health.is_alive()
    clock.now_ms += 60_001
    assert not health.is_alive()


def test_nothing_is_ready_at_the_start(health):
    assert health.missing() == sorted(Condition)
    assert not health.is_fresh()


def make_ready(health):
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    health.set_ready(Condition.RESTORED, met=True)
    health.refreshed()


def test_readiness_needs_every_condition(health):
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    health.refreshed()
    assert health.missing() == [Condition.RESTORED]
    health.set_ready(Condition.RESTORED, met=True)
    assert health.missing() == []


def test_a_condition_can_be_lost_again(health):
    make_ready(health)
    health.set_ready(Condition.RESTORED, met=False)
    assert health.missing() == [Condition.RESTORED]


def test_the_table_is_fresh_for_a_while_after_it_was_seen_to_be(health, clock):
    make_ready(health)
    clock.now_ms += 15_000
    assert health.is_fresh()
    assert health.missing() == []
    clock.now_ms += 1
    assert not health.is_fresh()
    assert health.missing() == [Condition.TABLE_FRESH]
    health.refreshed()
    assert health.is_fresh()
    assert health.missing() == []


def test_a_stale_table_is_no_reason_for_a_restart(health, clock):
    make_ready(health)
    clock.now_ms += 20_000
    health.polled()
    assert not health.is_fresh()
    assert health.is_alive()


@pytest.fixture
def turns(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: [(record.getMessage(), record.missing) for record in caplog.records]


def test_only_the_turns_of_readiness_are_logged(health, turns):
    for _ in range(2):
        make_ready(health)
        health.polled()
    health.set_ready(Condition.RESTORED, met=False)
    health.set_ready(Condition.BASELINES_LOADED, met=False)
    assert turns() == [("ready", []), ("not ready", ["restored"])]


def test_it_is_not_called_ready_before_the_table_is_fresh(health, turns):
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    health.set_ready(Condition.RESTORED, met=True)
    health.polled()
    assert turns() == []
    health.refreshed()
    assert turns() == [("ready", [])]


def test_a_table_that_goes_stale_is_logged_as_the_loop_comes_round(health, clock, turns):
    make_ready(health)
    clock.now_ms += 15_001
    health.polled()
    health.polled()
    assert turns() == [("ready", []), ("not ready", ["table_fresh"])]
    health.refreshed()
    assert turns()[2:] == [("ready", [])]
