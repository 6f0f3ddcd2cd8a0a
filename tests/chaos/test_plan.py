"""Tests of the plan: determined by the seed, complete and feasible."""

from collections import Counter

import pytest

from tests.chaos.broker_locator import java_hash
from tests.chaos.options import Options
from tests.chaos.plan import Step, make_plan
from tests.chaos.profiles import (
    BELOW_MINIMUM_S,
    EXTRA_REPLICA,
    ONE_BROKER,
    RELAY_DISRUPTIONS,
    RELAYED_REPLICA,
    REPLICAS,
    SOCKET_TIMEOUT_S,
    THREE_BROKERS,
    BrokerRole,
    Choice,
    DisruptionKind,
    Profile,
)

SEEDS = range(50)
PROFILES = [ONE_BROKER, THREE_BROKERS]


def choices(plan: list[Step]) -> Counter[Choice]:
    roles = {role.value: role for role in BrokerRole}
    return Counter(Choice(each.kind, roles.get(each.target)) for step in plan for each in step.disruptions)


@pytest.mark.parametrize(
    ("disruptions", "profile"), [(10, ONE_BROKER), (50, ONE_BROKER), (25, THREE_BROKERS), (50, THREE_BROKERS)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_plan_has_every_kind_and_overlaps(seed: int, disruptions: int, profile: Profile) -> None:
    plan = make_plan(seed, disruptions, 1_500.0, profile)
    done = choices(plan)
    assert done.total() == disruptions
    assert done.keys() == {*profile.repeated, *profile.single}
    assert all(done[choice] == 1 for choice in profile.single)
    assert any(len(step.disruptions) == 2 for step in plan)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", SEEDS)
def test_plan_targets_are_running_and_distinct(seed: int, profile: Profile) -> None:
    running = {*REPLICAS, *BrokerRole}
    for step in make_plan(seed, 50, 1_500.0, profile):
        targets = [each.target for each in step.disruptions]
        assert len(set(targets)) == len(targets)
        for each in step.disruptions:
            assert (each.target in running) == (each.kind is not DisruptionKind.ADD)
            running ^= {EXTRA_REPLICA} if each.kind in {DisruptionKind.ADD, DisruptionKind.REMOVE} else set()
            assert each.target == RELAYED_REPLICA or each.kind not in RELAY_DISRUPTIONS


@pytest.mark.parametrize("seed", SEEDS)
def test_plan_of_three_brokers_has_long_outages(
    seed: int,
) -> None:
    plan = make_plan(seed, 50, 2_400.0, THREE_BROKERS)
    assert away(plan, DisruptionKind.BELOW_MINIMUM) == [BELOW_MINIMUM_S] == [120.0]
    assert min(away(plan, DisruptionKind.BROKER_PAUSE)) > SOCKET_TIMEOUT_S
    long = next(step for step in plan if step.disruptions[0].kind is DisruptionKind.BELOW_MINIMUM)
    assert long.at_s > 2_400 / 2
    after = [step.at_s for step in plan if step.at_s > long.at_s]
    assert min(after) >= long.at_s + BELOW_MINIMUM_S


def away(plan: list[Step], kind: DisruptionKind) -> list[float]:
    return [each.away_s for step in plan for each in step.disruptions if each.kind is kind]


@pytest.mark.parametrize(("disruptions", "seconds"), [(0, 25.0), (10, 90.0), (8, 240.0), (50, 1_500.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_burst_is_released_before_a_step(seed: int, disruptions: int, seconds: float) -> None:
    options = Options(20_000, disruptions, seconds, seed)
    after_s = [step.at_s - options.released_s for step in options.steps]
    assert any(each == pytest.approx(3.0) for each in after_s) == bool(disruptions)
    assert 0.3 * seconds <= options.released_s <= 0.6 * seconds


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("a", 97), ("hello", 99_162_322), ("polygenelubricants", 0)]
)
def test_java_hash_matches_java(text: str, value: int) -> None:
    assert java_hash(text) == value
