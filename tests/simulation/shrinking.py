"""Shrinking of a plan with a finding to few steps, printed as a test."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from tests.simulation.plan import Plan, Step

_OPTIONAL = ("warm_up", "segments", "snippet_bytes", "min_events")

Find = Callable[[Plan], str | None]
"""Returns the first line of what is wrong with a plan's run; None where all holds."""


def shrink(plan: Plan, find: Find, seconds: float) -> Plan:
    """Return a smaller plan with a finding of the same kind: what is left out changes the kind, or ends it.

    Args:
        plan: The plan.
        find: Finds what is wrong.
        seconds: How long smaller plans are tried, s.
    """
    kind, until_s = _kind(find(plan)), monotonic() + seconds
    has_shrunk = True
    while has_shrunk:
        has_shrunk = False
        for smaller in _smaller(plan):
            if monotonic() > until_s:
                return plan
            if _kind(find(smaller)) == kind:
                plan, has_shrunk = smaller, True
                break
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


def _kind(finding: str | None) -> str | None:
    """Return the kind of a finding: its text up to the first value."""
    return finding and finding.partition(":")[0]


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans without some steps, records, streams, configurations and replicas, the smallest first."""
    if any(plan.skews_ms):
        yield replace(plan, skews_ms=(0,) * len(plan.skews_ms))
    if set(plan.encodings.values()) != {"own"}:
        yield replace(plan, encodings=dict.fromkeys(plan.encodings, "own"))
    for steps in _without(plan.steps):
        yield replace(plan, steps=tuple(steps))
    for number, (name, *arguments) in enumerate(plan.steps):
        if name == "publish" and len(arguments) > 1:
            for kept in _without(arguments):
                yield _with(plan, number, (name, *kept))
    for number, tree in enumerate(plan.configurations):
        for changed in _simpler(tree):
            trees = (*plan.configurations[:number], changed, *plan.configurations[number + 1 :])
            yield replace(plan, configurations=trees)


def _with(plan: Plan, number: int, step: Step) -> Plan:
    return replace(plan, steps=(*plan.steps[:number], step, *plan.steps[number + 1 :]))


def _without(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the items without halves, then quarters, down to one by one."""
    size = len(items) // 2
    while size:
        for first in range(0, len(items), size):
            if kept := [*items[:first], *items[first + size :]]:
                yield kept
        size //= 2


def _simpler(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield configurations in which one stream lacks a setting, or has one window size or baseline."""
    for number, stream in enumerate(tree["streams"]):
        without = [{key: each for key, each in stream.items() if key != name} for name in _OPTIONAL]
        shorter = [stream | {name: stream[name][:1]} for name in ("baselines", "windows")]
        for changed in [each for each in (*without, *shorter) if each != stream]:
            streams = [*tree["streams"]]
            streams[number] = changed
            yield tree | {"streams": streams}
