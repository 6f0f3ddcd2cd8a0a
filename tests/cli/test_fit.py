"""`driftgauge baseline`: fitted on events, tables and archives, shown and compared; groups and names."""

import base64
import re
import sys

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.builders.baselines import draw_bursts, save_baseline
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import write_events
from tests.cli.command import fail, run_json, succeed
from tests.cli.test_events import AVRO, SCHEMA
from tests.events.schema_records import ID, avro, framed
from tests.harness.registry_server import serve_schemas

ROWS = 3_600


def fit(folder, source, *arguments, clusters=2):
    """Fit a baseline; return the finished command, and the baseline as `show` prints it."""
    out = folder / "out.safetensors"
    fitted = ("baseline", "fit", source, "--stream", "s", "--clusters", clusters, "--out", out)
    return succeed(*fitted, *arguments), run_json("baseline", "show", out)


def line(vector, time_ms, **more):
    row = {"stream": "s", "timestamp": time_ms, "embedding": vector, **more}
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.fixture
def columns():
    """Return columns of the vectors of 60 hours in two clusters: times, classes, texts, ids and scores."""
    random = np.random.default_rng(0)
    classes = random.integers(2, size=ROWS)
    vectors = (5 * np.eye(4)[classes] + random.normal(scale=0.1, size=(ROWS, 4))).astype("f4")
    labels = [("ice", "road")[each] for each in classes]
    return {
        "v": vectors,
        "at": MONDAY_MS + np.arange(ROWS) * MINUTE_MS,
        "label": labels,
        "text": [("the hockey game", "a fast car engine")[each] for each in classes],
        "id": [f"{x}-{row}" for row, x in enumerate(labels)],
        "score": np.where(random.random(ROWS) < 0.1, np.nan, 1 + 4 * random.random(ROWS)),
    }


def write_source(folder, kind, columns):
    path = folder / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **columns)
    elif kind == "parquet":
        times = pa.array(columns["at"], pa.timestamp("ms", "UTC"))
        pa.parquet.write_table(pa.table({**columns, "v": list(columns["v"]), "at": times}), path)
    else:
        write_events(
            path,
            [
                line(
                    vector, at, segments={"label": label}, text=text, event_id=name, numbers={"score": score}
                )
                for vector, at, label, text, name, score in zip(*columns.values(), strict=True)
            ],
        )
    return path


def test_baselines_of_table_events_and_mapped_records_are_equal(tmp_path, columns):
    names = ("v", "at", "label")
    rows = zip(*(np.array(columns[name]).tolist() for name in names), strict=True)
    mapped = [orjson.dumps(dict(zip(names, row, strict=True))) for row in rows]
    mapping = {
        "stream": {"constant": "s"},
        "embedding": "v",
        "timestamp": "at",
        "segments": {"label": "label"},
    }
    config = write_config(tmp_path, {"name": "s"}, topics={"events": ["orders"]}, inputs={"orders": mapping})
    identities = set()
    for source, more in (
        (write_events(tmp_path / "mapped.jsonl", mapped), ("--config", config)),
        (write_source(tmp_path, "jsonl", columns), ("--training-set",)),
        (write_source(tmp_path, "parquet", columns), ("--time-column", "at")),
    ):
        done, shown = fit(tmp_path, source, "--segment", "label=ice", "--model-version", "v1", *more)
        assert "30 windows of 1h held out: counts vary" in done.stderr
        assert [(each["key"], each["value"]) for each in shown["segments"]] == [
            ("label", "ice"),
            ("label", "other"),
        ]
        assert shown["metadata"]["training_set"] is ("--training-set" in more)
        identities.add(shown["identity"])
    assert len(identities) == 1
    done, _ = fit(tmp_path, source, "--time-column", "at", "--window", "1d")
    assert "bursts: the events are of 3 windows of 1d" in done.stderr


@pytest.mark.parametrize(
    ("mix", "mean", "spread", "changes"),
    [(2, 0, 1, "clusters mean spread"), (0, 1.5, 1, "mean"), (0, 0, 2, "spread")],
)
def test_step_is_told_from_bursts_with_its_time(tmp_path, mix, mean, spread, changes):
    random = np.random.default_rng(0)
    hours = np.repeat(np.arange(100), 60)
    is_after = hours >= 50
    vectors = 50 * np.eye(4)[random.integers(2, size=len(hours)) + mix * is_after]
    vectors += random.normal(size=vectors.shape) * np.where(is_after, spread, 1)[:, None]
    vectors[:, 3] += mean * is_after
    times_ms = MONDAY_MS + hours * HOUR_MS
    source = write_events(tmp_path / "events.jsonl", map(line, vectors.round(3), times_ms))
    done, _ = fit(tmp_path, source, clusters=2 + mix)
    (warning,) = re.findall("^warning: (.*)$", done.stderr, re.MULTILINE)
    names = re.findall(r"their (\w+) near 2025-11-05T0[0-4]:00:00Z by \d\.\d\d standard dev", warning)
    assert " ".join(names) == changes


def test_streams_of_a_file_are_fitted_in_one_run_and_shown_as_printed(tmp_path):
    names = ("clicks", "models:sentence-transformers/all-MiniLM@v2")
    random = np.random.default_rng(0)
    lines = [
        line(random.normal(size=size), MONDAY_MS, stream=name)
        for name, size in zip(names, (4, 6), strict=True)
        for _ in range(400)
    ]
    source = write_events(tmp_path / "events.jsonl", [b"[", *lines, b"{}"])
    streams = ("--clusters", 4, "--stream", names[0], "--stream", names[1], "--out")
    fitted = run_json("baseline", "fit", source, *streams, tmp_path / "{stream}.safetensors")
    files = ("clicks.safetensors", "models%3Asentence-transformers%2Fall-MiniLM%40v2.safetensors")
    for name, size, file, each in zip(names, (4, 6), files, fitted, strict=True):
        assert (each["metadata"]["stream"], each["metadata"]["dimension"]) == (name, size)
        assert each.pop("refused") == {"invalid": 1, "undecodable": 1}
        assert [warning.split(":")[0] for warning in each.pop("warnings")] == [
            "windows of 1h hold 400 events (the median), and the reference counts 0.5 times as many",
            "the overdispersion is not known, and p-values will not be calibrated for bursts",
        ]
        shown = run_json("baseline", "show", tmp_path / file)
        assert shown == each | {"file": str(tmp_path / file), "refused": None, "warnings": None}
    message = fail("baseline", "fit", source, *streams, tmp_path / "one.safetensors")
    assert "each stream needs its own file; write {stream} into it" in message


def test_records_in_avro_wait_for_their_schema(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(200, 4)).tolist()
    values = map(base64.b64encode, (framed(avro({"vector": each}, SCHEMA)) for each in [*vectors, [1, 2, 3]]))
    records = [orjson.dumps({"ts": MONDAY_MS, "payload_base64": value.decode()}) for value in values]
    source = write_events(tmp_path / "a.records.jsonl", records)
    inputs = {"orders": AVRO["embeddings"] | {"stream": {"constant": "s"}}}
    topics = {"events": ["orders"]}
    with serve_schemas({ID: SCHEMA}, failures=1) as url:
        config = write_config(
            tmp_path, {"name": "s"}, topics=topics, inputs=inputs, schema_registry={"url": url}
        )
        done, shown = fit(tmp_path, source, "--config", config)
    assert shown["metadata"]["dimension"] == 4
    assert "line 201: wrong_dimension: embedding: 3 numbers, the first have 4" in done.stderr


def test_table_without_pyarrow_names_extra(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "driftgauge.baseline.tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = fail("baseline", "fit", "a.parquet", "--stream", "s", "--out", tmp_path / "b.safetensors")
    assert "a.parquet: reading it needs pyarrow; install driftgauge[parquet]" in message


def test_groups_of_events_measure_overdispersion(tmp_path):
    # Articles of five paragraphs, all at one time.
    lines = [
        line(vector, MONDAY_MS, segments={"document": str(row // 5)})
        for row, vector in enumerate(np.ascontiguousarray(draw_bursts(2_000, 5)))
    ]
    source = write_events(tmp_path / "events.jsonl", lines)
    done, shown = fit(tmp_path, source, "--group", "document", clusters=6)
    assert done.stdout == succeed("baseline", "show", tmp_path / "out.safetensors").stdout
    assert (shown["metadata"]["window_ms"], shown["segments"]) == (None, [])
    assert shown["metadata"]["groups"] == shown["overdispersion_windows"]
    assert 3 < shown["counts_overdispersion"] < 7


@pytest.mark.parametrize("kind", ["npz", "parquet", "jsonl"])
def test_labels_and_texts_name_clusters_and_numbers_are_counted(tmp_path, columns, kind):
    source = write_source(tmp_path, kind, columns)
    ids = () if kind == "jsonl" else ("--id-column", "id")
    done, shown = fit(tmp_path, source, "--label", "label", "--number", "score=1:5", *ids)
    assert "\n2 of 2 clusters are named by labels\n" in done.stderr
    examples = {
        each["name"]: [name.split("-")[0] for name in each["example_ids"]] for each in shown["clusters"]
    }
    assert examples == {"ice": ["ice"] * 5, "road": ["road"] * 5}
    score = shown["numbers"]["score"]
    assert score["mean"] == pytest.approx(np.nanmean(columns["score"]), abs=1e-4)
    counts = [score[key] for key in ("count", "missing", "clipped")]
    assert counts == [*np.bincount(np.isnan(columns["score"])), 0]
    done, other = fit(tmp_path, source, "--text", "text")
    assert "2 of 2 clusters are named by texts" in done.stderr
    assert sorted(each["name"] for each in other["clusters"]) == ["car, engine, fast", "game, hockey"]
    assert other["clusters"][0]["example_ids"] == [] or kind == "jsonl"
    assert (other["identity"], other["numbers"]) == (shown["identity"], {})
    several = ("--stream", "a", "--stream", "b", "--clusters", 2, "--out", tmp_path / "{stream}")
    message = fail("baseline", "fit", source, *several)
    assert ("names no streams, and each would be fitted on all of its" in message) is (kind != "jsonl")


def test_texts_of_examples_are_kept_only_if_asked_for(tmp_path, columns):
    columns["v"][7] = 40
    columns["text"] = [f"{each}, größe" for each in columns["text"]]
    source = write_source(tmp_path, "jsonl", columns)
    fit(tmp_path, source, "--text", "text", "--keep-all")
    assert "größe".encode() not in (tmp_path / "out.safetensors").read_bytes()
    _, shown = fit(tmp_path, source, "--text", "text", "--keep-all", "--keep-texts", "12")
    kept = {text for each in shown["clusters"] for text in each["example_texts"]}
    assert (shown["metadata"]["text_bytes"], kept) == (12, {"the hocke…", "a fast ca…"})
    assert len(shown["farthest"]["example_texts"]) == len(shown["farthest"]["example_ids"]) > 0
    held = succeed("baseline", "show", tmp_path / "out.safetensors").stdout
    assert re.search(r"texts +held: 12 bytes of each example's(.|\n)*farthest", held)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--keep-texts", "80"), "--keep-texts keeps texts of the column of --text; name the column"),
        (("--label", "none"), "no vector has a label 'none'; name a column with values"),
        (("--text", "none"), "or a path in the record's value, or leave out --text"),
        (("--group", "user"), "no vector has a group 'user'"),
        (("--number", "scores"), "no vector has a number 'scores'"),
        *(
            (("--number", wrong), "write a name, and its range if it is not 0:1")
            for wrong in ("score=5:1", "score=0:inf", "score=1", "two words", "", "=0:1")
        ),
        (("--stream", "t"), "behind its record's time or the clock"),
        (("--stream", "t"), "the numbers look like seconds: the contract is in milliseconds"),
    ],
)
def test_unusable_names_and_times_exit_with_2(tmp_path, columns, arguments, fault):
    source = write_source(tmp_path, "jsonl", {name: column[:50] for name, column in columns.items()})
    with source.open("ab") as file:
        file.write(line([1, 2], MONDAY_MS // 1_000, stream="t"))
    choice = arguments if "--stream" in arguments else ("--stream", "s", *arguments)
    message = fail("baseline", "fit", source, "--clusters", 2, "--out", tmp_path / "b.safetensors", *choice)
    assert fault in message


def test_baselines_are_compared_by_the_smallest_drift_of_their_stream(tmp_path):
    save_baseline(tmp_path)
    save_baseline(tmp_path, file="other.safetensors", clusters=3)
    show = ("baseline", "show", tmp_path / "images.safetensors", "--against", tmp_path / "other.safetensors")
    assert f"\nagainst {tmp_path}/other.safetensors\n" in succeed(*show).stdout
    config = write_config(tmp_path, {"smallest_drift": {"mean_shift": 0.4}})
    floors = [run_json(*show, *more)["against"]["mean_floor"] for more in ((), ("--config", config))]
    assert floors == [0.025, 0.2]
    for name, remedy in (("other", "leave out --config"), ("image", "did you mean image?")):
        message = fail(*show, "--config", write_config(tmp_path, {"name": name}))
        assert f"does not name the stream images of the baseline; {remedy}" in message
