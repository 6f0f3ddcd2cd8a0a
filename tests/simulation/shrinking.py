"""Shrinking of a plan with a finding to few steps, printed as a test."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from tests.simulation.plan import Plan

Find = Callable[[Plan], str | None]
"""Returns in a line what is wrong with a plan's run; None where all holds."""
_OPTIONAL = ("warm_up", "segments", "snippet_bytes", "min_events")


def shrink(plan: Plan, find: Find, seconds: float) -> Plan:
    """Return a smaller plan with a finding of the same kind, the text up to its first colon.

    Args:
        plan: The plan.
        find: Finds what is wrong.
        seconds: How long smaller plans are tried, s.
    """
    kind, until_s = str(find(plan)).partition(":")[0], monotonic() + seconds

    def has_finding(smaller: Plan) -> bool:
        return monotonic() < until_s and str(find(smaller)).partition(":")[0] == kind

    for smaller in (
        replace(plan, skews_ms=(0,) * len(plan.skews_ms)),
        replace(plan, encodings=dict.fromkeys(plan.encodings, "own")),
    ):
        plan = smaller if has_finding(smaller) else plan
    before: Plan | None = None
    while plan != before:
        before = plan
        plan = _reduce(plan.steps, partial(_with_steps, plan), has_finding)
        for number, (name, *records) in enumerate(plan.steps):
            if name == "publish":
                plan = _reduce(records, partial(_with_records, plan, number), has_finding)
        for number, tree in enumerate(plan.configurations):
            for changed in _simpler(tree):
                trees = (*plan.configurations[:number], changed, *plan.configurations[number + 1 :])
                smaller = replace(plan, configurations=trees)
                plan = smaller if has_finding(smaller) else plan
    return plan


def as_test(plan: Plan) -> str:
    """Return a test of a plan as text, for `test_simulation.py`."""
    steps = "\n".join(f"        {step!r}," for step in plan.steps)
    fields = "\n".join(f"        {name}={value!r}," for name, value in vars(plan).items() if name != "steps")
    return (
        "def test_finding():\n"
        f"    plan = Plan(\n{fields}\n        steps=(\n{steps}\n        ),\n    )\n"
        "    check(plan)\n"
    )


def _with_steps(plan: Plan, steps: Sequence[Any]) -> Plan:
    return replace(plan, steps=tuple(steps))


def _with_records(plan: Plan, number: int, records: Sequence[Any]) -> Plan:
    """Return a plan with other records in the step of a number."""
    return _with_steps(plan, (*plan.steps[:number], ("publish", *records), *plan.steps[number + 1 :]))


def _reduce(
    items: Sequence[Any], make: Callable[[Sequence[Any]], Plan], has_finding: Callable[[Plan], bool]
) -> Plan:
    """Return a plan without the halves, then quarters, down to single items, that a finding does not need."""
    size = len(items) // 2
    while size:
        first = 0
        while first < len(items):
            kept = [*items[:first], *items[first + size :]]
            if kept and has_finding(make(kept)):
                items = kept
            else:
                first += size
        size //= 2
    return make(items)


def _simpler(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield configurations in which one stream lacks a setting, or has one window size or baseline."""
    for number, stream in enumerate(tree["streams"]):
        without = [{key: each for key, each in stream.items() if key != name} for name in _OPTIONAL]
        shorter = [stream | {name: stream[name][:1]} for name in ("baselines", "windows")]
        for changed in [each for each in (*without, *shorter) if each != stream]:
            streams = [*tree["streams"]]
            streams[number] = changed
            yield tree | {"streams": streams}
