"""What a report is made of: files of window results or of events, or the topic."""

import gzip
import tracemalloc

import orjson
import pytest
from confluent_kafka import Producer

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.recorded.replay import Replay
from driftgauge.report.reading import holds_results, read_results, replayed_results, topic_results
from driftgauge.streams import load_streams
from tests.builders.baselines import save_baseline
from tests.builders.clocks import MINUTE_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.events import build_event, write_events
from tests.builders.page import build_settings, record_tree
from tests.builders.reports import write_results
from tests.harness.cluster import Cluster


def read(*paths):
    return read_results(paths, build_settings())


def records_of(material):
    """Return the whole result of every window."""
    history = material.results.history
    return [
        material.results.whole(series, row) for series in history.series() for row in history.windows(series)
    ]


def test_results_of_all_files_are_read_and_last_revision_holds(tmp_path):
    first = write_results(tmp_path / "a.jsonl", "ok", "drift", count=1)
    second = tmp_path / "b.jsonl.gz"
    second.write_bytes(gzip.compress(b"\n" + orjson.dumps(record_tree(2, "warning", count=3))))
    third = write_results(tmp_path / "c.jsonl", "ok", count=2, revision=1)
    material = read(first, second, third)
    assert [(record.verdict, record.count) for record in records_of(material)] == [
        ("ok", 2),
        ("drift", 1),
        ("warning", 3),
    ]
    assert material.origin == "the window results in a.jsonl, b.jsonl.gz, c.jsonl"
    assert material.notes == ()
    many = read(first, first, second, third, first)
    assert many.origin == "the window results in a.jsonl, a.jsonl, b.jsonl.gz and 2 more"


def test_other_lines_are_left_out_and_counted(tmp_path):
    path = write_results(tmp_path / "a.jsonl", "ok", "ok")
    path.write_bytes(path.read_bytes() + b'{"stream": "a"}\n{"stre')
    material = read(path)
    assert len(records_of(material)) == 2
    first, _, total = material.notes
    assert f"refused: {path} line 3: invalid: not a window result" in first
    assert total == "refused in total: 2 (2 invalid)"


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"[1]\nnonsense\n\n"])
def test_results_are_known_by_their_first_object(tmp_path, start):
    path = write_results(tmp_path / "a.jsonl", "ok", "drift")
    path.write_bytes(start + path.read_bytes())
    assert holds_results([path])


def test_results_and_events_do_not_mix(tmp_path):
    results = write_results(tmp_path / "a.jsonl", "ok")
    events = write_events(tmp_path / "b.jsonl", [build_event(MONDAY_MS)])
    with pytest.raises(InputError, match=r"some files hold window results, and .*b\.jsonl does not"):
        holds_results([events, results])


def test_results_of_a_replay_are_kept_outside_memory(tmp_path):
    save_baseline(tmp_path)
    windows = 1_000  # of 1.5 kB
    events = [build_event(MONDAY_MS + number * MINUTE_MS) for number in range(windows)]
    paths = [write_events(tmp_path / "events.jsonl", events)]
    settings = settings_in(tmp_path, {"windows": ["1m"]})
    streams = load_streams(settings)
    replay = Replay(streams, settings, clock=SYSTEM_CLOCK, refusals=Refusals(), topic="embeddings")
    tracemalloc.start()
    try:
        with replayed_results(replay, replay.run(paths), paths) as material:
            kept, _ = tracemalloc.get_traced_memory()
            assert [record.count for record in records_of(material)] == [1] * windows
    finally:
        tracemalloc.stop()
    assert (material.origin, material.notes) == ("the replay of events.jsonl", ())
    assert kept < 1_600 * windows


@pytest.mark.parametrize(
    "content", [b"", b"[1]\n", b"\xff\xfe\n", build_event(MONDAY_MS, verdict="ok", start=1)]
)
def test_other_files_are_taken_for_events(tmp_path, content):
    path, picture = tmp_path / "a.jsonl", tmp_path / "a.png"
    path.write_bytes(content)
    picture.write_bytes(b'{"verdict": "ok"}')
    assert not holds_results([path, picture])


@pytest.mark.broker
def test_topic_is_read_to_its_end_without_a_group(bootstrap):
    with Cluster(bootstrap) as cluster:
        settings = build_settings()
        settings = settings.model_copy(
            update={
                "kafka": cluster.properties,
                "topics": settings.topics.model_copy(update={"windows": cluster.windows}),
            }
        )
        producer = Producer({"bootstrap.servers": bootstrap})
        now_ms = SYSTEM_CLOCK.wall_ms()
        old_ms = now_ms - 40 * 86_400_000
        producer.produce(cluster.windows, orjson.dumps(record_tree(0, "drift")), timestamp=old_ms)
        for number, verdict in enumerate(["ok", "drift"], start=1):
            producer.produce(cluster.windows, orjson.dumps(record_tree(number, verdict)), timestamp=now_ms)
        producer.produce(cluster.windows, b"nonsense")
        producer.produce(cluster.windows, None, key=b"a")
        assert producer.flush(30) == 0
        with topic_results(settings, SYSTEM_CLOCK) as material:
            assert [record.verdict for record in records_of(material)] == ["ok", "drift"]
            (series,) = material.results.history.series()
            published = set(material.results.history.windows(series)["published_ms"].tolist())
        assert published == {now_ms}
        assert material.origin == f"the last 31d of the topic {cluster.windows}"
        assert material.notes[0].startswith(f"refused: {cluster.windows}[0]@3: invalid: not a window result")
        assert cluster.count_members(cluster.group) == 0
