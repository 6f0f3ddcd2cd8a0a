"""A bounded part of the simulation, and that its findings shrink."""

import pytest

from tests.examples import examples
from tests.simulation.checking import check, finder
from tests.simulation.plan import Plan, draw
from tests.simulation.shrinking import as_test, shrink


@pytest.mark.parametrize("seed", range(examples(32)))
def test_drawn_plan_holds(seed):
    check(draw(seed), seed)


def test_plan_follows_from_its_seed():
    assert draw(7) == draw(7) != draw(8)


def test_finding_shrinks_to_its_steps():
    plan = draw(2)

    def find(each: Plan) -> str | None:
        names = [name for name, *_ in each.steps]
        return "found: both" if "publish" in names and "close" in names else None

    smaller = shrink(plan, find, 10)
    assert sorted(name for name, *_ in smaller.steps) == ["close", "publish"]
    assert "('close', " in as_test(smaller)
    assert finder(0)(Plan(frozenset(), plan.configurations[:1], plan.encodings, plan.partitions)) is None
