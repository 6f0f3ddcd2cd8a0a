"""The plan of a run: reproducible, complete, and possible."""

import pytest

from tests.chaos.plan import CALM_S, EXTRA, REPLICAS, RESERVE, SESSION_TIMEOUT_S, Kind, Step, make_plan

SEEDS = range(50)


def test_the_same_seed_gives_the_same_plan_and_another_gives_another() -> None:
    assert make_plan(1, 50, 1_500.0) == make_plan(1, 50, 1_500.0)
    assert make_plan(1, 50, 1_500.0) != make_plan(2, 50, 1_500.0)


@pytest.mark.parametrize("disruptions", [0, 1, 2, 9, 50])
def test_it_has_as_many_disruptions_as_asked_for(disruptions: int) -> None:
    plan = make_plan(3, disruptions, 1_500.0)
    assert sum(len(step.disruptions) for step in plan) == disruptions


@pytest.mark.parametrize("disruptions", [9, 50])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_is_in_it_and_some_overlap(seed: int, disruptions: int) -> None:
    plan = make_plan(seed, disruptions, 1_500.0)
    assert {each.kind for step in plan for each in step.disruptions} == set(Kind)
    assert any(len(step.disruptions) == 2 for step in plan)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_it_disrupts_is_there_and_no_two_at_a_time_are_the_same(seed: int) -> None:
    running = {*REPLICAS, "broker"}
    for step in make_plan(seed, 50, 1_500.0):
        targets = [each.target for each in step.disruptions]
        assert len(set(targets)) == len(targets)
        for each in step.disruptions:
            assert (each.target in running) == (each.kind is not Kind.ADD)
            running ^= {EXTRA} if each.kind in {Kind.ADD, Kind.REMOVE} else set()


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_spread_over_the_run_and_pauses_outlast_the_session(seed: int) -> None:
    plan = make_plan(seed, 50, 1_500.0)
    times = [step.at_s for step in plan]
    assert times == sorted(times)
    assert CALM_S <= times[0] < 100
    assert 1_200 < times[-1] < 1_500 * (1 - RESERVE)
    assert all(pause > SESSION_TIMEOUT_S for pause in pauses(plan))


def pauses(plan: list[Step]) -> list[float]:
    return [each.away_s for step in plan for each in step.disruptions if each.kind is Kind.PAUSE]
