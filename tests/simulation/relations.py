"""Relations between runs: plans that differ in what must change nothing, and rounds that are done again."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from random import Random
from typing import Any

from driftgauge.core.durations import parse_duration
from driftgauge.core.windows.work_budget import WorkBudget
from driftgauge.kafka.dead_letters import read_letter
from driftgauge.records.partials import decode_part
from driftgauge.records.results import result_record
from tests.core.shard import restored, written
from tests.simulation.plan import Plan, Step
from tests.simulation.producers import ENCODINGS, Sent
from tests.simulation.run import CONCLUSIVE, Run

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


def with_texts(plan: Plan, random: Random) -> Plan:
    """Keep texts of examples, or keep none."""
    kept = random.choice([0, 64])
    return _configured(plan, lambda stream: stream | {"snippet_bytes": kept})


def on_one_replica(plan: Plan, _: Random) -> Plan:
    """Let one replica do all the work."""
    return replace(plan, skews_ms=(0,), steps=tuple(_moved(step, 1) for step in plan.steps))


def on_five_replicas(plan: Plan, random: Random) -> Plan:
    """Let five replicas share the work, with rebalances."""
    holders = tuple(random.randrange(5) for _ in range(9))
    spread: tuple[Step, ...] = (("assign_partitions", holders, True), ("assign_shards", holders, True))
    steps = [_moved(step, random.randrange(1, 6)) for step in plan.steps]
    return replace(plan, skews_ms=(0,) * 5, steps=(*spread, *steps))


def with_restarts(plan: Plan, random: Random) -> Plan:
    """Restart replicas a few times more."""
    steps = [*plan.steps]
    for _ in range(3):
        restart = ("restart", random.randrange(len(plan.skews_ms)), None)
        steps.insert(random.randrange(len(steps) + 1), restart)
    return replace(plan, steps=tuple(steps))


def in_another_order(plan: Plan, random: Random) -> Plan:
    """Write the records of each step in another order, within the allowed disorder."""
    disorders_ms = {
        stream.get("name", "shop"): parse_duration(stream["allowed_disorder"])
        for stream in plan.configurations[0]["streams"]
    }

    def order(sent: Sent) -> float:
        return sent.time_ms + random.random() * disorders_ms[sent.stream.partition("/")[0]]

    def ordered(records: list[Sent]) -> list[Sent]:
        faulty = [sent for sent in records if sent.fault]
        return [*faulty, *sorted((sent for sent in records if not sent.fault), key=order)]

    return _published(plan, ordered)


def in_another_encoding(plan: Plan, random: Random) -> Plan:
    """Write the same numbers in other encodings."""
    encodings = [name for name, (mapping, _, _) in ENCODINGS.items() if mapping is not None]
    return replace(plan, encodings={topic: random.choice(encodings) for topic in plan.encodings})


def in_other_batches(plan: Plan, random: Random) -> Plan:
    """Read, write and close in other portions."""
    return replace(
        plan,
        batch=random.choice([1, 7, 1_000]),
        part_bytes=random.choice([600, 10**6]),
        round_bytes=random.choice([1, 10**7]),
    )


def one_vector_a_record(plan: Plan, _: Random) -> Plan:
    """Write each vector as a record of its own."""
    return _published(
        plan, lambda records: [sent._replace(vectors=(each,)) for sent in records for each in sent.vectors]
    )


def many_vectors_a_record(plan: Plan, _: Random) -> Plan:
    """Write the vectors of a stream and time in one record."""

    def bundled(records: list[Sent]) -> list[Sent]:
        groups = groupby(records, lambda sent: sent._replace(vectors=()))
        return [one._replace(vectors=sum((each.vectors for each in own), ())) for one, own in groups]

    return _published(plan, bundled)


RELATIONS: tuple[Callable[[Plan, Random], Plan], ...] = (
    *(with_texts, on_one_replica, on_five_replicas, with_restarts, in_another_order, in_another_encoding),
    *(in_other_batches, one_vector_a_record, many_vectors_a_record),
)


def check_relation(run: Run, relation: Callable[[Plan, Random], Plan], seed: int) -> None:
    """A plan that differs only in what must change nothing has the same view."""
    found, other = view(run), view(Run(relation(run.plan, Random(seed))).carry_out())
    different = {key for key in found.keys() | other.keys() if found.get(key) != other.get(key)}
    told = [(key, found.get(key), other.get(key)) for key in sorted(different, key=str)[:2]]
    assert not different, f"{relation.__name__}: {told}"


def check_rounds(run: Run) -> None:
    """A shard that restarts before each round publishes the same as one that does not."""
    if run.plan.round_bytes < 10**7:
        # What a round leaves to the next depends on which stream closed windows last, which no shard keeps.
        return
    for shard, rounds in enumerate(run.rounds):
        changelog: dict[bytes, bytes] = {}
        for deployment, next_offset, expected in rounds:
            topics = deployment.settings.topics.events
            state = restored(deployment.specs, topics, changelog, shards=run.shards)
            for offset in range(state.position.offset, next_offset):
                append_ms, part, transaction = run.partials[shard][offset]
                if part is not None and transaction.is_committed:
                    state.apply(offset, append_ms, decode_part(part))
                else:
                    state.skip_to(offset + 1)
            results = state.close_windows(WorkBudget(run.plan.round_bytes)).results
            for key, value in written(state):
                if value is None:
                    changelog.pop(key, None)
                else:
                    changelog[key] = value
            found = [result_record(each, deployment.descriptions.get(each.baseline_id)) for each in results]
            named = sorted(map(_name, set(found) ^ set(expected)))
            assert found == expected or sorted(found) == sorted(expected), f"rounds differ: {named}"


def _name(value: bytes) -> str:
    return value[:200].decode()


def _moved(step: Step, replica: int) -> Step:
    """Return a step that another replica carries out."""
    name, *arguments = step
    of_replica = {"count", "send", "fail", "apply", "close", "restore", "restart"}
    return (name, replica - 1, *arguments[1:]) if name in of_replica else step


def _published(plan: Plan, change: Callable[[list[Sent]], list[Sent]]) -> Plan:
    steps = [
        ("publish", *change([*arguments])) if name == "publish" else (name, *arguments)
        for name, *arguments in plan.steps
    ]
    return replace(plan, steps=tuple(steps))


def _configured(plan: Plan, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Plan:
    trees = tuple(tree | {"streams": [*map(change, tree["streams"])]} for tree in plan.configurations)
    return replace(plan, configurations=trees)
