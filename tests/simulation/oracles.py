"""What must hold of a run, by the documents and by what it published, not by the code under test."""

from collections import Counter

from driftgauge.kafka.dead_letters import read_letter
from tests.simulation.producers import FILTERED, REASONS, Sent
from tests.simulation.replicas import Replica
from tests.simulation.run import Run, WindowKey

Events = Counter[WindowKey]


def check_settled(run: Run) -> None:
    """Check the counts, the letters and the totals of a run that has settled."""
    check_records(run)
    check_counts(run)
    assert run.chain_errors == []
    for replica in run.replicas:
        for state in replica.windows.states.values():
            position = state.position
            assert (position.gaps, position.overlaps, position.orphans) == (0, 0, 0)


def windows_of(run: Run, sent: Sent) -> list[WindowKey]:
    """Return the windows of a record's events, by the last configuration."""
    sizes_ms = run.spec_of(run.last, sent.stream).sizes_ms
    return [(sent.stream, size_ms, sent.time_ms - sent.time_ms % size_ms) for size_ms in sizes_ms]


def check_records(run: Run) -> None:
    """Each record is counted, refused with its reason, or filtered, once."""
    expected = Counter(sent.fault for sent in _kept(run) if sent.fault and sent.fault != FILTERED)
    known = {fault: reason for fault, reason in REASONS.items() if reason is not None}
    found = Counter(read_letter(letter).reason for letter in run.letters)
    assert found.total() == expected.total(), f"refused {found}, sent {expected}"
    for fault, reason in known.items():
        assert found[reason] >= expected[fault], f"{reason}: refused {found}, sent {expected}"
    outcomes: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for replica in [*run.gone, *run.replicas]:
        outcomes.update(_counters(replica, "driftgauge_records", "outcome"))
        events.update(_counters(replica, "driftgauge_events", "stream"))
    sent = Counter({"": "accepted", FILTERED: "filtered"}.get(each.fault, "rejected") for each in _kept(run))
    assert +outcomes == +sent, f"records by outcome: {outcomes}, written {sent}"
    sound = Counter[str]()
    for each in _kept(run):
        if not each.fault:
            sound[each.stream] += len(each.vectors)
    # After `most` names a replica counts others under the pattern.
    assert events.total() == sound.total(), f"events {events}, written {sound}"


def check_counts(run: Run) -> None:
    """Written = counted + late + surplus + still open, by window; no window is both complete and short."""
    late, surplus, applied, otherwise = Events(), Counter[str](), Counter[str](), set[WindowKey]()
    for of_shard in run.fates:
        for fate in of_shard.values():
            late += fate.late
            surplus += fate.surplus
            applied += fate.applied
            otherwise |= fate.otherwise
    expected, sound = Events(), 0
    for sent in _kept(run):
        if not sent.fault:
            sound += len(sent.vectors)
            for key in windows_of(run, sent):
                expected[key] += len(sent.vectors)
    assert sound == surplus.total() + applied.total(), f"{sound} sound events, {surplus} {applied}"
    assert run.plan.features & {"surplus", "retired"} or not surplus
    assert not run.plan.is_calm or not late, f"late: {late}"
    # A clock that is fast may close a window before the loss is known. The first event after a loss ends it, too
    # early if that event is late.
    is_exact = len({*run.plan.skews_ms}) == 1 and "late" not in run.plan.features
    doubtful = {key for sent in run.doubtful for key in windows_of(run, sent) if is_exact}
    first_sizes = {spec.name: spec.sizes_ms for spec in run.deployments[0].specs}
    may_miss = otherwise | {key for key in expected if surplus and "/" in key[0]}
    for key, number in (expected - late).items():
        result = run.results.get(key)
        is_new_size = key[1] not in first_sizes.get(key[0], first_sizes.get("shop/*", ()))
        if result is None:
            assert key in may_miss or is_new_size, f"in no window: {number} events of {key}"
            continue
        assert result["count"] <= number, f"too many: {result['count']} of {number} in {key}"
        if key not in may_miss:
            is_complete = result["verdict"] != "incomplete"
            assert result["count"] == number or not is_complete, (
                f"short: {result['count']} of {number} in {key}"
            )
            assert is_complete or is_new_size, f"incomplete: {key}, {result['incomplete_reason']}"
            assert key not in doubtful or result["events_lost"], f"lost events are not marked: {key}"
    for key in run.results.keys() - expected.keys():
        assert len(run.deployments) > 1, f"without events: {key}"


def _kept(run: Run) -> list[Sent]:
    """Return what the records say that were written, without those that retention deleted unread."""
    return [
        sent for _, log in run.logs.items() for _, sent in log if not any(sent is each for each in run.lost)
    ]


def _counters(replica: Replica, name: str, label: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for family in replica.telemetry.registry.collect():
        if family.name == name:
            for sample in family.samples:
                found[sample.labels[label]] += int(sample.value)
    return found
