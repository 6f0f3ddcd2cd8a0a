"""All checks of a plan, and its shrinking to a few steps where one fails."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from random import Random
from time import monotonic
from typing import Any

from driftgauge.core.durations import parse_duration
from driftgauge.core.local import LocalDriver
from driftgauge.kafka.intake import to_records
from driftgauge.records.dead_letter import read_letter
from driftgauge.records.partials import decode_part
from driftgauge.records.window_results import result_record
from tests.core.shard import EVENTS, restored, written
from tests.simulation.kafka import is_read
from tests.simulation.ledger import CONCLUSIVE
from tests.simulation.oracles import check_settled, check_view
from tests.simulation.plan import MAX_BYTES, START_MS, Plan, Step
from tests.simulation.producers import ENCODINGS, Sent
from tests.simulation.run import Run

View = dict[Any, Any]


def view(run: Run) -> View:
    """Return what a settled run says: windows, alarms, and refused records by stream."""
    windows: View = {
        key: (found["verdict"], found["incomplete_reason"], *(each["count"] for each in found["clusters"]))
        for key, found in run.results.items()
    }
    series = {key[:2] for key in windows}
    alarms: View = {(*key, "alarm"): run.has_alarm(*key) for key in series}
    concluded = {(*key, "concluded"): run.newest(*key, *CONCLUSIVE) for key in series}
    starts: View = {key: found and found["start"] for key, found in concluded.items()}
    # Of the reasons some depend on the encoding.
    refused: View = {"refused": Counter(bool(read_letter(letter).reason) for letter in run.letters)}
    return windows | alarms | starts | refused


def _in_another_order(plan: Plan, random: Random) -> Plan:
    """Write the records of each step in another order, within the allowed disorder."""
    disorders_ms = {
        stream.get("name", "shop"): parse_duration(stream["allowed_disorder"])
        for stream in plan.configurations[0]["streams"]
    }

    def order(sent: Sent) -> tuple[bool, float]:
        disorder_ms = disorders_ms[sent.stream.partition("/")[0]]
        return not sent.fault, sent.time_ms + random.random() * disorder_ms

    return _published(plan, lambda records: sorted(records, key=order))


def _bundled(records: list[Sent]) -> list[Sent]:
    """Return one record of the vectors of a stream and time."""
    groups = groupby(records, lambda sent: sent._replace(vectors=()))
    return [one._replace(vectors=sum((each.vectors for each in own), ())) for one, own in groups]


RELATIONS: Mapping[str, Callable[[Plan, Random], Plan]] = {
    "texts are kept": lambda plan, _: _configured(plan, {"snippet_bytes": 64}),
    "no texts are kept": lambda plan, _: _configured(plan, {"snippet_bytes": 0}),
    "one replica": lambda plan, _: replace(
        plan, skews_ms=(0,), steps=tuple(_moved(step, 0) for step in plan.steps)
    ),
    "five replicas": lambda plan, random: replace(
        plan,
        skews_ms=(0,) * 5,
        steps=(
            *((name, *random.choices(range(5), k=9)) for name in ("assign_partitions", "assign_shards")),
            *(_moved(step, random.randrange(5)) for step in plan.steps),
        ),
    ),
    "more restarts": lambda plan, random: replace(
        plan,
        steps=tuple(
            each
            for step in plan.steps
            for each in ((("restart", 0, None), step) if random.random() < 0.02 else (step,))
        ),
    ),
    "another order": _in_another_order,
    "another encoding": lambda plan, random: replace(
        plan,
        encodings={
            topic: random.choice([name for name, (mapping, *_) in ENCODINGS.items() if mapping is not None])
            for topic in plan.encodings
        },
    ),
    "other batches": lambda plan, random: replace(
        plan,
        part_bytes=random.choice([600, 10**6]),
        commit_bytes=random.choice([30_000, 200_000]),
        round_work=random.choice([1, 1_000, 85_000]),
    ),
    "one vector a record": lambda plan, _: _published(
        plan, lambda records: [sent._replace(vectors=(each,)) for sent in records for each in sent.vectors]
    ),
    "many vectors a record": lambda plan, _: _published(plan, _bundled),
}
"""What must change nothing of a calm plan's view."""


def check_relation(run: Run, name: str, seed: int) -> None:
    """A plan that differs only in what must change nothing has the same view."""
    found, other = view(run), view(Run(RELATIONS[name](run.plan, Random(seed))).carry_out())
    different = {key for key in found.keys() | other.keys() if found.get(key) != other.get(key)}
    told = [(key, found.get(key), other.get(key)) for key in sorted(different, key=str)[:2]]
    assert not different, f"{name}: {told}"


def check_local(run: Run) -> None:
    """The same records in one process, which reads them at once, have the same windows."""
    deployment, names = run.last, dict(enumerate(run.logs))
    driver = LocalDriver(deployment.specs, EVENTS, len(names))
    codes = {at: code for code, at in names.items()}
    stored = [each for at in names.values() for each in run.kafka.logs[at].stored]
    _, records = to_records(stored, codes, now_ms=run.now_ms)
    driver.count(deployment.decoder().decode(records).batches, run.now_ms)
    positions = {code: len(run.logs[at]) for code, at in names.items()}
    results = driver.commit(run.now_ms, positions, names, has_source_ended=True).results
    while driver.shard.has_backlog:
        results += driver.shard.close_windows(has_source_ended=True).results
    found = {(each.stream, each.window.size_ms, each.window.start_ms): each for each in results}
    counts = {key: (each.verdict.value, *each.counts.tolist()) for key, each in found.items()}
    expected = {
        key: (each["verdict"], *(one["count"] for one in each["clusters"]))
        for key, each in run.results.items()
    }
    different = sorted(key for key in counts.keys() | expected.keys() if counts.get(key) != expected.get(key))
    told = [(key, counts.get(key), expected.get(key)) for key in different[:2]]
    assert not different, f"in one process: {told}"


def check_rounds(run: Run) -> None:
    """A shard that restarts before each round publishes the same as one that does not."""
    for shard, rounds in enumerate(run.rounds):
        if run.plan.commit_bytes < MAX_BYTES or run.commits[shard] != len(rounds):
            # The restarted shard has the bounds of MAX_BYTES; and of a commit whose outcome nobody was told,
            # nobody knows up to where it read.
            continue
        partials = run.kafka.logs[run.settings.partials_topic, shard]
        changelog: dict[bytes, bytes] = {}
        for deployment, next_offset, expected in rounds:
            topics = deployment.settings.topics.events
            state = restored(deployment.specs, topics, changelog, shards=run.shards)
            for each in partials.stored[state.position.offset : next_offset]:
                if is_read(each):
                    state.apply(each.at, each.append_ms, decode_part(each.value()))
            state.skip_to(next_offset)
            results = state.close_windows().results
            if expected is None:
                # Which windows wait depends on which stream published last, which no shard keeps, and on the
                # shards that share the round.
                break
            assert not state.has_backlog, "a shard that restarts leaves windows to the next round"
            for key, value in written(state):
                if value is None:
                    changelog.pop(key, None)
                else:
                    changelog[key] = value
            found = [result_record(each, deployment.descriptions.get(each.baseline_id)) for each in results]
            named = sorted(each[:200].decode() for each in set(found) ^ set(expected))
            assert found == expected or sorted(found) == sorted(expected), f"rounds differ: {named}"


def _moved(step: Step, replica: int) -> Step:
    """Return a step that another replica carries out."""
    name, *arguments = step
    of_replica = {"count", "apply", "close", "disturb", "expel", "restart", "crash"}
    return (name, replica, *arguments[1:]) if name in of_replica else step


def _published(plan: Plan, change: Callable[[list[Sent]], list[Sent]]) -> Plan:
    steps = [
        ("publish", *change([*arguments])) if name == "publish" else (name, *arguments)
        for name, *arguments in plan.steps
    ]
    return replace(plan, steps=tuple(steps))


def _configured(plan: Plan, changes: dict[str, Any]) -> Plan:
    trees = [
        tree | {"streams": [stream | changes for stream in tree["streams"]]} for tree in plan.configurations
    ]
    return replace(plan, configurations=tuple(trees))


def check(plan: Plan, seed: int = 0) -> int:
    """Check a plan's run; return the simulated time, ms.

    Args:
        plan: The plan.
        seed: It chooses the relation of a calm plan, and what it draws.

    Raises:
        Exception: Something does not hold, or the service fails.
    """
    run = Run(plan, check_view).carry_out()
    check_settled(run)
    check_rounds(run)
    if plan.is_calm:
        check_local(run)
        check_relation(run, [*RELATIONS][seed % len(RELATIONS)], seed)
    return run.now_ms - START_MS


def find(seed: int, plan: Plan) -> str | None:
    """Return in a line what does not hold of a plan; None where all holds."""
    try:
        check(plan, seed)
    except Exception as error:  # noqa: BLE001 - an error of the service is a finding as well
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {where.name}, line {where.lineno}: {error}"
    return None


def shrink(plan: Plan, find_it: Callable[[Plan], str | None], seconds: float) -> Plan:
    """Return a smaller plan with a finding of the same kind, the text up to its first colon.

    Args:
        plan: The plan.
        find_it: Finds what is wrong, see `find`.
        seconds: How long smaller plans are tried, s.
    """
    kind, until_s = str(find_it(plan)).partition(":")[0], monotonic() + seconds

    def has_finding(smaller: Plan) -> bool:
        return monotonic() < until_s and str(find_it(smaller)).partition(":")[0] == kind

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
        optional = ("warm_up", "segments", "snippet_bytes", "min_events")
        without = [{key: each for key, each in stream.items() if key != name} for name in optional]
        shorter = [stream | {name: stream[name][:1]} for name in ("baselines", "windows")]
        for changed in [each for each in (*without, *shorter) if each != stream]:
            streams = [*tree["streams"]]
            streams[number] = changed
            yield tree | {"streams": streams}
