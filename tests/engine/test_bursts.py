"""A burst: all records of a plan at once, on brokers that take no round that is not bounded."""

from dataclasses import replace

from tests.simulation.checking import check
from tests.simulation.plan import draw


def test_burst_is_worked_off_in_rounds_that_slow_brokers_take():
    plan = draw(22)
    records = [record for name, *of_step in plan.steps for record in of_step if name == "publish"]
    assert len(records) > 300, "another seed is needed for a burst"
    slow = {"commit_bytes": 200_000, "byte_s": 1e-4, "round_work": 85_000}
    check(replace(plan, skews_ms=(0,), **slow, steps=(("publish", *records),)))
