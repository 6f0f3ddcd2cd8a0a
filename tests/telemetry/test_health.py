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


def test_readiness_needs_every_condition(health):
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    health.set_ready(Condition.CAUGHT_UP, met=True)
    assert health.missing() == [Condition.PARTITIONS_ASSIGNED]
    health.set_ready(Condition.PARTITIONS_ASSIGNED, met=True)
    assert health.missing() == []


def test_a_condition_can_be_lost_again(health):
    for condition in Condition:
        health.set_ready(condition, met=True)
    health.set_ready(Condition.PARTITIONS_ASSIGNED, met=False)
    assert health.missing() == [Condition.PARTITIONS_ASSIGNED]


def test_only_the_turns_of_readiness_are_logged(health, caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    for _ in range(2):
        for condition in Condition:
            health.set_ready(condition, met=True)
    health.set_ready(Condition.CAUGHT_UP, met=False)
    health.set_ready(Condition.PARTITIONS_ASSIGNED, met=False)
    assert [(record.getMessage(), record.missing) for record in caplog.records] == [
        ("ready", []),
        ("not ready", ["caught_up"]),
    ]
