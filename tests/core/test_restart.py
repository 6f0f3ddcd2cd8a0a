"""A restart is not to be told from an uninterrupted run by anybody who reads the results.

The restarted pipeline is fed as the service feeds it: from the first offset of any open pane, with
nothing closed before every partition has been read again to where it had been.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.pipeline import Pipeline
from tests.core.builders import (
    CLUSTERS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    Run,
    build_batch,
    build_spec,
    counts_of,
    windows_of,
)

PARTITIONS = (0, 1)
STREAMS = ("images", "texts")


def build_specs(lateness_ms=10 * MINUTE_MS):
    return [
        build_spec("images", sizes_ms=(HOUR_MS,), lateness_ms=lateness_ms),
        build_spec("texts", sizes_ms=(HOUR_MS, DAY_MS), lateness_ms=lateness_ms, disorder_ms=20 * MINUTE_MS),
    ]


@dataclass(frozen=True)
class Event:
    stream: str
    time_ms: int
    cluster: int


@dataclass
class Reader:
    """One run of the service over the partitions' logs."""

    logs: dict[int, list[Event]]
    lateness_ms: int = 10 * MINUTE_MS
    snapshots: dict = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))

    def __post_init__(self):
        self.pipeline = Pipeline(build_specs(self.lateness_ms), PARTITIONS, MONDAY_MS, self.snapshots)

    def read(self, partition, number):
        first = self.positions[partition]
        events = self.logs[partition][first : first + number]
        self.positions[partition] += len(events)
        for stream in STREAMS:
            rows = [
                (partition, first + i, event.time_ms, event.cluster)
                for i, event in enumerate(events)
                if event.stream == stream
            ]
            if rows:
                self.pipeline.count(build_batch(rows, stream), MONDAY_MS)

    def close(self):
        return self.pipeline.close(MONDAY_MS, self.positions, {})

    def restart(self):
        """The run that a crash right after a commit leads to, and how far it has to catch up."""
        behind = self.positions | self.pipeline.first_open_offsets()
        return Reader(self.logs, self.lateness_ms, self.pipeline.snapshots(), behind), dict(self.positions)


def published(results):
    return [(r.stream, r.window, r.revision, tuple(r.counts.tolist())) for r in results]


def repeated(results):
    """What of these an earlier run had published."""
    return published(result for result in results if result.repeated)


@st.composite
def recordings(draw):
    """Two partitions' logs, and the steps in which they are read: (partition, how many events)."""
    event = st.builds(
        Event,
        stream=st.sampled_from(STREAMS),
        time_ms=st.integers(0, 5 * 60).map(lambda minute: MONDAY_MS + minute * MINUTE_MS),
        cluster=st.integers(0, CLUSTERS - 1),
    )
    logs = {partition: draw(st.lists(event, min_size=1, max_size=25)) for partition in PARTITIONS}
    if draw(st.booleans()):  # in order, so that windows close and are purged all along
        logs = {partition: sorted(log, key=lambda e: e.time_ms) for partition, log in logs.items()}
    steps = draw(st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(1, 6)), min_size=1, max_size=25))
    return logs, steps


def catch_up(reader, target, data):
    """Read again, in batches and an order of their own, exactly to where the earlier run had been."""
    while pending := [p for p in PARTITIONS if reader.positions[p] < target[p]]:
        partition = data.draw(st.sampled_from(pending))
        reader.read(partition, data.draw(st.integers(1, target[partition] - reader.positions[partition])))


@settings(max_examples=150, deadline=None)
@given(recordings(), st.data())
def test_after_any_restarts_the_same_is_published_but_for_repetitions(recording, data):
    logs, steps = recording
    crashes = data.draw(st.sets(st.integers(0, len(steps) - 1), min_size=1, max_size=3))
    whole, broken = Reader(logs), Reader(logs)
    seen = []
    for number, (partition, size) in enumerate(steps):
        whole.read(partition, size)
        broken.read(partition, size)
        new = whole.close()
        again = broken.close()
        assert published(result for result in again if not result.repeated) == published(new)
        assert repeated(again) == [result for result in published(again) if result in seen]
        assert repeated(new) == []
        seen += published(again)
        if number in crashes:
            broken, target = broken.restart()
            catch_up(broken, target, data)
            if data.draw(st.booleans()):  # else it closes only when there are new events as well
                again = broken.close()
                assert repeated(again) == published(again)
                assert set(repeated(again)) <= set(seen), "a repetition says something new"
            assert broken.pipeline.open_windows() == whole.pipeline.open_windows()
            assert broken.pipeline.first_open_offsets() == whole.pipeline.first_open_offsets()
            assert broken.pipeline.snapshots() == whole.pipeline.snapshots()
    last = broken.pipeline.finish()
    assert published(result for result in last if not result.repeated) == published(whole.pipeline.finish())
    assert repeated(last) == [result for result in published(last) if result in seen]


@settings(max_examples=100, deadline=None)
@given(recordings(), st.data())
def test_a_restart_counts_every_event_once_and_no_revision_stands_for_two_counts(recording, data):
    logs, steps = recording
    reader = Reader(logs, lateness_ms=2 * DAY_MS)  # whatever the order of reading, nothing is late
    crash = data.draw(st.integers(0, len(steps) - 1))
    results = []
    for partition, size in steps[: crash + 1]:
        reader.read(partition, size)
        results += published(reader.close())
    reader, target = reader.restart()
    # One partition may be read past where it had been before the other has got there.
    while any(reader.positions[p] < target[p] for p in PARTITIONS):
        reader.read(data.draw(st.sampled_from(PARTITIONS)), data.draw(st.integers(1, 6)))
    for partition, size in steps[crash + 1 :]:
        results += published(reader.close())
        reader.read(partition, size)
    results += published(reader.pipeline.finish())
    last = {(stream, window): counts for stream, window, _, counts in results}
    assert last == exact(logs, reader.positions)
    assert len(set(results)) == len({(stream, window, revision) for stream, window, revision, _ in results})
    for key in last:
        revisions = [revision for stream, window, revision, _ in results if (stream, window) == key]
        assert revisions == sorted(revisions)
        assert set(revisions) == set(range(revisions[-1] + 1))


def exact(logs, positions):
    """Every window's histogram over what was read, counted one event at a time."""
    counts = {}
    for spec in build_specs():
        events = [
            (partition, offset, event.time_ms, event.cluster)
            for partition in PARTITIONS
            for offset, event in enumerate(logs[partition][: positions[partition]])
            if event.stream == spec.name
        ]
        for window in windows_of(events, spec.sizes_ms):
            counts[spec.name, window] = counts_of(events, window)
    return counts


def test_a_revision_stands_for_one_count_though_new_events_come_with_the_catch_up():
    first = [Event("images", MONDAY_MS + minute * MINUTE_MS, 0) for minute in (0, 60)]
    late = Event("images", MONDAY_MS + 30 * MINUTE_MS, 1)
    logs = {0: [*first, late], 1: first}
    reader = Reader(logs)
    reader.read(0, 2)
    reader.read(1, 2)
    (before,) = published(reader.close())
    restarted, _ = reader.restart()
    restarted.read(0, 3)  # one poll brings what is read again and what is new
    restarted.read(1, 2)
    (result,) = restarted.close()
    (after,) = published([result])
    assert not result.repeated
    assert (before[2], before[3]) == (0, (2, 0, 0, 0))
    assert (after[2], after[3]) == (1, (2, 1, 0, 0))


def silent_run(snapshots=None, **changes):
    spec = build_spec(idle_ms=MINUTE_MS, **changes)
    return Run(spec, partitions=PARTITIONS, now_ms=MONDAY_MS, snapshots=snapshots)


def test_a_window_closed_by_idleness_is_repeated_after_a_restart_once_the_stream_is_idle_again():
    run = silent_run()
    run.read((MONDAY_MS, 0), (MONDAY_MS + 1, 2))
    assert run.fall_silent(MINUTE_MS) == []
    (before,) = run.fall_silent(HOUR_MS)
    again = silent_run(run.pipeline.snapshots())
    again.read((MONDAY_MS, 0), (MONDAY_MS + 1, 2))
    assert again.close(after_ms=HOUR_MS) == []
    (after,) = again.fall_silent(0)
    assert published([after]) == published([before])
    assert (before.repeated, after.repeated) == (False, True)
    assert again.fall_silent(MINUTE_MS) == []


def test_a_restart_with_another_baseline_publishes_the_next_revision_and_the_one_after_repeats_it():
    # As in truth: of one length, and alike but for the digest.
    old, new = "sha256:" + 16 * "0a1b", "sha256:" + 16 * "2c3d"
    snapshots, results = {}, []
    for baseline_id in (old, new, new):
        run = silent_run(snapshots, baseline_id=baseline_id)
        run.read((MONDAY_MS, 0), (MONDAY_MS + 1, 2))
        results += run.fall_silent(HOUR_MS)
        snapshots = run.pipeline.snapshots()
    assert [(r.baseline_id, r.revision, r.repeated) for r in results] == [
        (old, 0, False),
        (new, 1, False),
        (new, 1, True),
    ]
    assert [r.counts.tolist() for r in results] == [[1, 0, 1, 0]] * 3


def test_what_was_past_correction_before_a_restart_is_past_it_afterwards():
    run = silent_run()
    run.read((MONDAY_MS, 0))
    run.fall_silent(HOUR_MS)
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 1}
    run.fall_silent(10 * MINUTE_MS)
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 0}
    again = silent_run(run.pipeline.snapshots())
    assert again.read((MONDAY_MS + HOUR_MS - 1, 0), (MONDAY_MS + HOUR_MS, 0)).late.tolist() == [True, False]
