"""The replay of recorded events, compared with a direct count."""

from itertools import permutations

import numpy as np
import orjson
import pytest

from driftgauge.core.window import Window
from driftgauge.events.records import StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.recorded.replay import Replay
from driftgauge.records.window_results import result_record
from driftgauge.streams import load_streams
from tests.builders.baselines import SEGMENTS, save_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS, ManualClock
from tests.builders.configs import settings_in
from tests.builders.events import build_event, write_events
from tests.builders.references import CLUSTERS

NOW_MS = MONDAY_MS + 30 * DAY_MS
CLOCK = ManualClock(NOW_MS).clock


@pytest.fixture
def replay(tmp_path):
    """A replay of stream `images`, by the hour and the day."""

    def _replay(**stream):
        save_baseline(tmp_path, segments=SEGMENTS)
        settings = settings_in(tmp_path, stream, allowed_lead="1m")
        return Replay(load_streams(settings), settings, topic="embeddings", clock=CLOCK, refusals=Refusals())

    return _replay


def latest(results):
    """The last published histogram of each window."""
    return {result.window: tuple(result.counts.tolist()) for result in results}


def direct_count(times_ms, clusters, *sizes_ms):
    """Each window's histogram, computed from the columns."""
    return {
        Window(size_ms, start): tuple(
            np.bincount(clusters[times_ms // size_ms * size_ms == start], minlength=CLUSTERS).tolist()
        )
        for size_ms in sizes_ms
        for start in np.unique(times_ms // size_ms * size_ms).tolist()
    }


def columns(number, seed=0):
    """Events of three days, out of order by less than half a minute."""
    random = np.random.default_rng(seed)
    times_ms = MONDAY_MS + np.sort(random.integers(0, 3 * DAY_MS, size=number))
    times_ms = np.maximum(times_ms - random.integers(0, 29_000, size=number), MONDAY_MS)
    return times_ms, random.integers(0, CLUSTERS, size=number)


def lines_of(times_ms, clusters):
    return [
        build_event(time_ms, cluster) for time_ms, cluster in zip(times_ms, clusters.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_replay_equals_direct_count(replay, tmp_path, name):
    times_ms, clusters = columns(3_500)
    path = write_events(tmp_path / name, [b"", *lines_of(times_ms, clusters), b" \t\r", b""])
    run = replay()
    results = list(run.run([path]))
    assert latest(results) == direct_count(times_ms, clusters, HOUR_MS, DAY_MS)
    assert len(results) == 3 * 24 + 3
    assert {result.revision for result in results} == {0}
    assert +run.rejected == {}
    ends = [result.window.end_ms for result in results]
    assert ends == sorted(ends)
    assert list(replay().run([write_events(tmp_path / f"empty-{name}", [])])) == []


def test_order_of_files_does_not_change_results(replay, tmp_path):
    times_ms, clusters = columns(900)
    # One file a day, and one with every third event of all days.
    part = np.where(np.arange(900) % 3 == 0, 3, (times_ms - MONDAY_MS) // DAY_MS)
    paths = [
        write_events(
            tmp_path / f"{number}.jsonl", lines_of(times_ms[part == number], clusters[part == number])
        )
        for number in range(4)
    ]
    expected = direct_count(times_ms, clusters, 6 * HOUR_MS, DAY_MS)
    outcomes = set()
    for order in list(permutations(paths))[::5]:
        run = replay(windows=["6h", "1d"])
        results = list(run.run(order))
        assert latest(results) == expected
        assert +run.rejected == {}
        outcomes.add(tuple(sorted(result_record(result, None) for result in results)))
    assert len(outcomes) == 1, "scores and verdicts depend on the order of files"


def test_no_event_is_late_in_whatever_order_events_are_recorded(replay, tmp_path):
    times_ms, clusters = columns(3_500)
    backwards = lines_of(times_ms[::-1], clusters[::-1])
    path = write_events(tmp_path / "events.jsonl", backwards)
    run = replay(allowed_disorder="0s", allowed_lateness="0s")
    results = list(run.run([path]))
    assert latest(results) == direct_count(times_ms, clusters, HOUR_MS, DAY_MS)
    assert {result.revision for result in results} == {0}
    assert (run.events, +run.rejected) == (3_500, {})


def test_bad_events_are_counted_by_reason(replay, tmp_path):
    path = write_events(
        tmp_path / "events.jsonl",
        [
            build_event(MONDAY_MS, 0),
            b"{",
            b"not json",
            b"",
            b"   ",
            b"[]",
            build_event(MONDAY_MS, 0, stream="sounds"),
            build_event(MONDAY_MS, 0, embedding=[1, 2]),
            build_event((MONDAY_MS + HOUR_MS) // 1_000),
            build_event(NOW_MS + MINUTE_MS, 1),
            build_event(NOW_MS + MINUTE_MS + 1, 1),
            b'{"stream":"images","timestamp":%d,"embedding":[1,2,3,1e39]}' % MONDAY_MS,
            # Finite, but the product with a centroid is not.
            build_event(MONDAY_MS, 0, embedding=[3e38, -3e38, 3e38, 3e38]),
        ],
    )
    run = replay(windows=["1h"])
    assert sum(result.count for result in run.run([path])) == 2
    assert +run.rejected == {
        (None, "undecodable"): 2,
        (None, "invalid"): 1,
        (None, "unknown_stream"): 1,
        ("images", "wrong_dimension"): 1,
        ("images", "past"): 1,
        ("images", "future"): 1,
        ("images", "non_finite"): 2,
    }


def mapped(folder):
    """A replay of stream `images` from the topic `orders`, whose records are mapped."""
    save_baseline(folder)
    mapping = {
        "stream": {"header": "model"},
        "timestamp": {"record": "timestamp"},
        "embedding": "v",
        "where": [{"path": "op", "in": ["c"]}],
    }
    settings = settings_in(
        folder, {"windows": ["1h"]}, topics={"events": ["orders"]}, inputs={"orders": mapping}
    )
    return Replay(load_streams(settings), settings, topic="orders", clock=CLOCK, refusals=Refusals())


def test_records_of_mapped_topic_are_read_by_its_mapping(tmp_path):
    record = {"ts": MONDAY_MS, "headers": {"model": "images"}, "partition": 3, "offset": 17}
    payloads = [{"op": "c", "v": [1, 2, 3, 4]}, {"op": "c", "v": "?"}, {"op": "d"}]
    lines = [orjson.dumps({**record, "payload": payload}) for payload in payloads]
    # The last was copied while it was written.
    bad = [
        lines[0].replace(b"[1,2,3,4]", b"[" * 3_000 + b"]" * 3_000),
        lines[0].replace(b'"ts":', b'"ts":' + b"9" * 9),
    ]
    path = write_events(tmp_path / "orders.records.jsonl", [*lines, *bad, lines[0][:-9]])
    run = mapped(tmp_path)
    (result,) = run.run([path])
    assert (result.stream, result.window.start_ms, result.count) == ("images", MONDAY_MS, 1)
    assert (run.records, run.events) == (3, 1)
    invalid, *others = sorted(run.refusals.first)
    assert invalid.startswith(f"{path}, line 2: invalid: embedding")
    for number, line in enumerate(others, start=4):
        assert line.startswith(f"{path}, line {number}: undecodable: no record as `kcat -J` prints it (")
    assert run.refusals.by_reason() == {"invalid": 1, "undecodable": 3}


def test_only_events_of_range_are_counted(tmp_path):
    class Source:
        partitions = 6

        def batches(self):
            for partition in (2, 5):
                yield [
                    StoredRecord(
                        b'{"op":"c","v":[1,2,3,4]}',
                        "orders",
                        partition,
                        7 * n,
                        None,
                        [("model", b"images")],
                        ms,
                    )
                    for n, ms in enumerate(range(MONDAY_MS - MINUTE_MS, MONDAY_MS + 2 * HOUR_MS, MINUTE_MS))
                ]

    run = mapped(tmp_path)
    (result,) = run.count(Source(), MONDAY_MS, MONDAY_MS + HOUR_MS)
    assert (result.window.start_ms, result.count) == (MONDAY_MS, 120)


def test_refused_events_have_file_and_line(replay, tmp_path):
    sound = [build_event(MONDAY_MS + n, n % 4) for n in range(1_500)]
    first = write_events(tmp_path / "a.jsonl.gz", [*sound[:2], b"", b"{", *sound[2:], b"[]"])
    second = write_events(
        tmp_path / "b.jsonl",
        [
            build_event(MONDAY_MS, 0, embedding=[3e38, -3e38, 3e38, 3e38]),
            build_event(MONDAY_MS, 0, stream="other"),
        ],
    )
    run = replay()
    list(run.run([first, second]))
    assert [line.split(": ")[:2] for line in run.refusals.first] == [
        [f"{first}, line 4", "undecodable"],
        [f"{first}, line 1503", "invalid"],
        [f"{second}, line 1", "non_finite"],
        [f"{second}, line 2", "unknown_stream"],
    ]
