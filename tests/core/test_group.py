"""A simulated group of both stages counts and publishes like one process, despite failures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftgauge.core.local import LocalDriver
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import ExamplesKey, PaneKey
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.verdict import update_memory
from driftgauge.core.windows.window import Window
from driftgauge.records.changelog import decode
from tests.builders.batches import build_batch, build_tally, read_tally
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.builders.references import CLUSTERS, FIRST
from tests.builders.results import plain
from tests.builders.specs import ALARM, build_spec
from tests.core.group import STEP_MS, SimulatedGroup
from tests.core.group_members import GroupEvent
from tests.examples import examples


def replay(
    specs: Sequence[StreamSpec], events: Sequence[GroupEvent]
) -> dict[tuple[str, Window], WindowResult]:
    """Return the last revision of every window from one process that reads one partition."""
    driver = LocalDriver(specs, "embeddings", 1)
    final: dict[tuple[str, Window], WindowResult] = {}
    for first in range(0, len(events), 5):
        for offset, event in enumerate(events[first : first + 5], first):
            row = [(0, offset, event.time_ms, event.cluster)]
            driver.count([build_batch(row, event.stream, event_ids=[event.name])], MONDAY_MS)
        is_last = first + 5 >= len(events)
        done = driver.commit(MONDAY_MS, {0: min(first + 5, len(events))}, has_source_ended=is_last)
        assert done.late == []
        final.update({(result.stream, result.window): result for result in done.results})
    return final


def histograms(
    events: Iterable[GroupEvent], sizes_ms: Sequence[int]
) -> dict[tuple[str, Window], tuple[int, ...]]:
    """Return (stream, window) -> its counts, counted event by event."""
    counts: dict[tuple[str, Window], NDArray[np.int64]] = {}
    for stream, time_ms, cluster, _ in events:
        for size_ms in sizes_ms:
            window = Window.around(time_ms, size_ms)
            counts.setdefault((stream, window), np.zeros(CLUSTERS, dtype=np.int64))[cluster] += 1
    return {key: tuple(histogram.tolist()) for key, histogram in counts.items()}


def names(
    events: Iterable[GroupEvent], sizes_ms: Sequence[int]
) -> dict[tuple[str, Window], dict[int, list[str]]]:
    """Return (stream, window) -> cluster -> the names of its events."""
    named: dict[tuple[str, Window], dict[int, list[str]]] = {}
    for stream, time_ms, cluster, name in events:
        for size_ms in sizes_ms:
            clusters = named.setdefault((stream, Window.around(time_ms, size_ms)), {})
            clusters.setdefault(cluster, []).append(name)
    return named


SIZES_MS = (SECOND_MS, 5 * SECOND_MS)
DISORDER_MS = 500
LATENESS_MS = 2_000
IDLE_MS = 5 * STEP_MS
PARTITIONS = 4
MEMBERS = 3
# The allowed clock error is 2 s where `idle_timeout` is 5 s at least; this is less in proportion.
SKEW_MS = 190
STREAMS = ("images", "texts", "sounds")
# An entry of its own for each stream, or one that is for all.
ENOUGH = st.sampled_from([0, len(STREAMS)])
# A level at which many windows of a few events are significant.
EAGER = replace(ALARM, level=0.1)
SCORER = WindowScorer(build_spec(alarm=EAGER), FIRST, None, calibrated=False)


def specs(number, **changes):
    fields = {
        "sizes_ms": SIZES_MS,
        "disorder_ms": DISORDER_MS,
        "lateness_ms": LATENESS_MS,
        "idle_ms": IDLE_MS,
        "incomplete_ms": 20 * STEP_MS,
        "give_up_ms": 60 * STEP_MS,
        "alarm": EAGER,
        **changes,
    }
    return [build_spec(name, **fields) for name in STREAMS[:number]]


def plans(*mishaps, streams=2, behind_ms=DISORDER_MS + LATENESS_MS):
    """Lists of steps: the name of a method of `SimulatedGroup`, and its arguments."""
    partition = st.integers(0, PARTITIONS - 1)
    event = st.tuples(
        partition,
        st.integers(0, streams - 1),
        st.integers(0, 400),
        st.one_of(st.just(0), st.integers(0, behind_ms)),
        st.integers(0, CLUSTERS - 1),
    )
    member = st.integers(0, MEMBERS - 1)
    holders = st.lists(member, min_size=PARTITIONS, max_size=PARTITIONS)
    few = st.integers(0, 12)
    steps = {
        "write": [st.lists(event, min_size=1, max_size=8)],
        "work": [member, few],
        "send": [member, st.integers(0, 5)],
        "fail": [member],
        "apply": [member, few],
        "close": [member, few],
        "restore": [member],
        "wait": [st.integers(1, 4)],
        "replace": [member, st.booleans()],
        "rebalance_count": [holders, st.booleans()],
        "rebalance_windows": [holders, st.booleans()],
        "grow": [holders],
        "delete": [partition, st.integers(1, 4)],
        "stick": [partition],
    }
    named = {name: st.tuples(st.just(name), *arguments) for name, arguments in steps.items()}
    always = ("wait", "fail", "restore", "replace", "rebalance_count", "rebalance_windows", "apply")
    mishap = st.one_of([named[name] for name in (*always, *mishaps)])
    step = st.one_of(mishap, named["write"], named["work"], named["work"], named["send"], named["close"])
    # Long enough for windows to become final during the plan.
    return st.lists(step, min_size=40, max_size=100)


def shapes(skew_ms=0, most=ENOUGH):
    """The sizes of a group; clocks are slow, or fast by `skew_ms` at most."""
    return st.fixed_dictionaries(
        {
            "partitions": st.integers(1, PARTITIONS),
            "members": st.integers(1, MEMBERS),
            "shards": st.integers(1, 3),
            "skews_ms": st.lists(st.integers(-SKEW_MS, skew_ms), min_size=1, max_size=MEMBERS),
            "has_own_topics": st.booleans(),
            "most": most,
        }
    )


def run(plan, shape, configured):
    """The settled group after a plan."""
    group = SimulatedGroup(configured, **shape)
    for name, *arguments in plan:
        getattr(group, name)(*arguments)
    group.settle()
    return group


def simulation(*strategies, number=40):
    def decorate(test):
        return settings(max_examples=examples(number))(given(*strategies)(test))

    return decorate


@simulation(plans("grow"), shapes(), number=60)
def test_group_counts_every_event_once(plan, shape):
    group = run(plan, shape, specs(2))
    assert group.late.total() == 0
    check_counts(group)
    check_revisions(group)
    check_examples(group)
    check_history(group)
    check_alarms(group)
    check_totals(group)


@simulation(
    plans("grow", "stick", behind_ms=20_000, streams=3), shapes(SKEW_MS, st.integers(0, 3)), number=60
)
def test_group_counts_each_event_or_reports_it_late_or_surplus(plan, shape):
    group = run(plan, shape, specs(3))
    check_revisions(group)
    check_totals(group)
    written = Counter(event.stream for event in group.events)
    counted = Counter()
    for (stream, window), result in group.final.items():
        counted[stream, window.size_ms] += result.count
    admitted = {stream for state in group.states for stream in state.streams}
    for stream in written:
        for size_ms in SIZES_MS:
            expected = written[stream] if stream in admitted else 0
            assert counted[stream, size_ms] + group.late[stream, size_ms] == expected
    entries = [entry for state in group.states for entry in state.entries.values()]
    assert sum(entry.surplus for entry in entries) == sum(
        number for stream, number in written.items() if stream not in admitted
    )
    for state, entry in zip(group.states, entries, strict=False):
        # No stream is refused while there is a place.
        assert entry.admitted == len(state.streams) <= shape["most"]
        assert not entry.surplus or entry.admitted == shape["most"]


@simulation(plans("delete", behind_ms=DISORDER_MS), shapes())
def test_group_marks_windows_with_lost_events(plan, shape):
    group = run(plan, shape, specs(2))
    check_counts(group)
    check_revisions(group)
    check_totals(group)
    for key in histograms(group.missed, SIZES_MS).keys() & group.final.keys():
        assert group.final[key].events_lost


@simulation(plans(), shapes())
def test_replay_gives_identical_results(plan, shape):
    group = run(plan, shape, specs(2))
    replayed = replay(specs(2, disorder_ms=10**9), group.written)
    assert replayed.keys() == group.final.keys()
    for key, result in group.final.items():
        assert plain(result.counts) == plain(replayed[key].counts)
        assert plain(result.score) == plain(replayed[key].score)
        assert result.examples == replayed[key].examples


@simulation(plans("stick", "grow", behind_ms=20_000), shapes(SKEW_MS), number=15)
def test_state_holds_only_open_windows(plan, shape):
    group = run(plan, shape, specs(2))
    for _ in range(4):
        for stream in range(2):
            group.write([(index, stream, 10 * SECOND_MS, 0, 0) for index in range(8)])
        group.settle()
    for changelog in group.changelogs:
        for encoded_key, value in changelog.items():
            key, _ = decode(encoded_key, value)
            if isinstance(key, PaneKey | ExamplesKey):
                newest_ms = group.newest_ms[key.stream]
                assert key.pane.end_ms > newest_ms - DISORDER_MS - LATENESS_MS - 2 * max(SIZES_MS)
    for state in group.states:
        for stream in state.streams.values():
            past = [each.size_ms for each in stream.published if each.end_ms <= stream.status.final_ms]
            assert sorted(past) == sorted(set(past))


def check_counts(group):
    """Every window's last revision is complete and holds exactly its events."""
    expected = histograms(group.events, SIZES_MS)
    assert group.final.keys() == expected.keys()
    for key, result in group.final.items():
        assert tuple(result.counts.tolist()) == expected[key]
        assert (result.missing, result.incomplete_reason) == ((), None)


def check_revisions(group):
    """Revisions are consecutive, and the chain is unbroken."""
    windows = {}
    for stream, window, revision in group.results:
        windows.setdefault((stream, window), []).append(revision)
    for revisions in windows.values():
        assert revisions == list(range(len(revisions)))
    for state in group.states:
        assert (state.position.gaps, state.position.overlaps, state.position.orphans) == (0, 0, 0)


def check_totals(group):
    """The totals of the shards equal those of the published results."""
    late, closed = Counter(), Counter()
    for state in group.states:
        for stream, known in state.streams.items():
            late.update({(stream, size_ms): number for size_ms, number in known.status.late.items()})
            closed.update({(stream, *key): number for key, number in known.status.closed.items()})
    assert late == group.late
    assert closed == Counter(
        (result.stream, result.window.size_ms, result.verdict)
        for result in group.results.values()
        if result.verdict is not result.superseded
    )


def check_alarms(group):
    """The newest published window with a conclusion decides the alarm, whatever came after it."""
    newest = {
        (stream, window.size_ms): result
        for (stream, window), result in sorted(group.final.items(), key=lambda item: item[0])
        if result.verdict.is_conclusive
    }
    shown = {
        (stream, size_ms): result
        for state in group.states
        for stream, known in state.streams.items()
        for size_ms, result in known.conclusive.items()
    }
    assert {at: (each.window, each.verdict) for at, each in shown.items()} == {
        at: (each.window, each.verdict) for at, each in newest.items()
    }


def check_examples(group):
    """The examples of the clusters that moved are the events whose names have the lowest CRC-32."""
    named = names(group.events, SIZES_MS)
    for key, result in group.final.items():
        assert result.examples == {
            cluster: tuple(sorted(named[key][cluster], key=lambda name: (crc32(name.encode()), name))[:3])
            for cluster in result.score.movers
            if cluster in named[key]
        }


def check_history(group):
    """Each window entered the history once, in the order of the first complete publications."""
    histories, judged_with = {}, {}
    for (stream, window, _), result in group.results.items():
        if result.verdict is Verdict.INCOMPLETE:
            continue
        size_key, key = (stream, window.size_ms), (stream, window)
        end_ms, memory = histories.get(size_key, (0, VerdictMemory()))
        is_next = key not in judged_with and window.end_ms > end_ms
        if is_next and end_ms:
            empty = min((window.start_ms - end_ms) // window.size_ms, 3)
            memory = replace(memory, recent=(*memory.recent, *[False] * empty)[-2:])
        if key not in judged_with:
            judged_with[key] = memory if is_next else VerdictMemory()
        assert plain(result.memory) == plain(judged_with[key])
        after = update_memory(
            judged_with[key],
            window,
            read_tally(build_tally(*result.counts, reference=FIRST)),
            is_significant_and_large=SCORER.is_significant_and_large(result.score),
            p_value=result.score.p_value,
            slow_drift_limit=SCORER.slow_drift_limit,
            segments={},
        )
        assert result.slow_drift == after.slow_drift.statistic
        if is_next:
            histories[size_key] = window.end_ms, after
    held = {
        (stream, size_ms): (history.end_ms, history.memory)
        for state in group.states
        for stream, known in state.streams.items()
        for (size_ms, _), history in known.histories.items()
    }
    assert plain(held) == plain(histories)
