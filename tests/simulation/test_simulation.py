"""A bounded part of the simulation, and that its findings shrink."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest

from tests.examples import examples
from tests.simulation.checking import as_test, check, find, shrink
from tests.simulation.page import read_metrics
from tests.simulation.plan import PAIRS, Plan, draw, draw_features
from tests.simulation.run import Run

# Plans of about a second each, those that add most pairs of features first: the first eight have 88 % of all
# pairs, all of them 91 %. `make simulate` draws the costly ones as well.
SEEDS = (11, 9, 23, 7, 16, 15, 14, 8, 2, 3, 12, 19)


@pytest.mark.parametrize("seed", SEEDS[: examples(32)])
def test_drawn_plan_holds(seed):
    check(draw(seed), seed)


def test_stream_is_exported_by_the_replica_that_has_its_shard():
    plan = next(each for each in map(draw, range(100)) if len(each.skews_ms) == 2)
    before = [step for step in plan.steps[:20] if step[0] != "look"]
    moves = [
        step
        for holder in (0, 1, 0)
        for step in (
            ("assign_shards", holder),
            ("close", 1 - holder, 1_000),
            *[("close", holder, 1_000)] * 4,
            ("look",),
        )
    ]
    looks = []
    moved = replace(plan, skews_ms=(0, 0), steps=(*before, *moves))
    # It fails where two replicas show series of one stream.
    Run(moved, lambda run: looks.append(read_metrics(each.telemetry for each in run.replicas))).carry_out()
    assert len(looks) == 4


def test_every_pair_of_features_is_drawn_often():
    # An hour has about so many runs.
    met = Counter(
        pair for seed in range(1_100) for pair in combinations(sorted(draw_features(Random(seed))), 2)
    )
    assert {pair: met[pair] for pair in PAIRS if met[pair] < 20} == {}


def test_plan_follows_from_its_seed():
    assert draw(7) == draw(7) != draw(8)


def test_finding_shrinks_to_its_steps():
    plan = draw(2)

    def find_both(each: Plan) -> str | None:
        names = [name for name, *_ in each.steps]
        return "found: both" if "publish" in names and "close" in names else None

    smaller = shrink(plan, find_both, 10)
    assert sorted(name for name, *_ in smaller.steps) == ["close", "publish"]
    assert "('close', " in as_test(smaller)
    assert find(0, Plan(frozenset(), plan.configurations[:1], plan.encodings, plan.partitions)) is None
