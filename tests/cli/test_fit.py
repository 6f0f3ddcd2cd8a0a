"""`driftgauge baseline`: fitted on events, tables and archives, shown and used; groups and names."""

import base64
import json
import re
import sys

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from driftgauge.events import schemas
from tests.builders.baselines import draw_bursts
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.cli.command import run
from tests.cli.test_events import ALWAYS, AVRO, SCHEMA
from tests.events.schema_records import ID, avro, framed
from tests.harness.registry_server import serve_schemas

HOURS, AN_HOUR = 60, 60


def fit(folder, source, *arguments, clusters=2):
    """Fit a baseline; return the finished command, and the baseline as `show` prints it."""
    out = folder / "out.safetensors"
    done = run("baseline", "fit", source, *arguments, "--stream", "s", "--clusters", clusters, "--out", out)
    return done, json.loads(run("baseline", "show", out, "--json").stdout) if done.returncode == 0 else None


def line(vector, time_ms, **more):
    row = {"stream": "s", "timestamp": time_ms, "embedding": vector, **more}
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)


def test_baselines_of_table_events_and_mapped_records_are_equal(tmp_path):
    random = np.random.default_rng(0)
    rows = HOURS * AN_HOUR
    vectors = np.eye(4)[random.integers(4, size=rows)] + random.normal(scale=0.1, size=(rows, 4))
    vectors = vectors.astype("f4")
    times_ms = MONDAY_MS + np.arange(rows) * (HOUR_MS // AN_HOUR)
    countries = np.array(["de", "fr"])[random.integers(2, size=rows)]
    columns = zip(vectors, times_ms.tolist(), countries.tolist(), strict=True)
    lines = [line(vector, time, segments={"country": country}) for vector, time, country in columns]
    table = {"v": list(vectors), "at": pa.array(times_ms, pa.timestamp("ms", "UTC")), "country": countries}
    pa.parquet.write_table(pa.table(table), tmp_path / "events.parquet")
    columns = zip(vectors.tolist(), times_ms.tolist(), countries.tolist(), strict=True)
    mapped = [orjson.dumps({"v": vector, "at": time, "land": country}) for vector, time, country in columns]
    mapping = {
        "stream": {"constant": "s"},
        "embedding": "v",
        "timestamp": "at",
        "segments": {"country": "land"},
    }
    config = write_config(tmp_path, {"name": "s"}, topics={"events": ["orders"]}, inputs={"orders": mapping})
    identities = []
    for source, more in (
        (write_events(tmp_path / "mapped.jsonl", mapped), ("--config", config)),
        (write_events(tmp_path / "events.jsonl", lines), ()),
        (tmp_path / "events.parquet", ("--time-column", "at")),
    ):
        choice = ("--segment", "country=de,fr", "--model-version", "v1")
        done, shown = fit(tmp_path, source, *choice, *more, clusters=4)
        assert done.returncode == 0, done.stderr
        assert "windows of 1h held out: counts vary" in done.stderr
        identities.append(shown["identity"])
    assert len(set(identities)) == 1


@pytest.mark.parametrize(
    ("mix", "mean", "spread", "changes"),
    [(2, 0, 1, "clusters mean spread"), (0, 1.5, 1, "mean"), (0, 0, 2, "spread")],
)
def test_step_is_told_from_bursts_with_its_time(tmp_path, mix, mean, spread, changes):
    random = np.random.default_rng(0)
    hours = np.repeat(np.arange(100), AN_HOUR)
    is_after = hours >= 50
    vectors = 50 * np.eye(4)[random.integers(2, size=len(hours)) + mix * is_after]
    noise = random.normal(size=vectors.shape) * np.where(is_after, spread, 1)[:, None]
    vectors = (vectors + noise + mean * is_after[:, None] * [0, 0, 0, 1]).round(3).tolist()
    lines = [
        line(vector, MONDAY_MS + hour * HOUR_MS) for vector, hour in zip(vectors, hours.tolist(), strict=True)
    ]
    done, _ = fit(tmp_path, write_events(tmp_path / "events.jsonl", lines), "--json", clusters=2 + mix)
    assert done.returncode == 0, done.stderr
    (warning,) = json.loads(done.stdout)["warnings"]
    names = re.findall(r"their (\w+) near 2025-11-05T0[0-4]:00:00Z by \d\.\d\d standard dev", warning)
    assert " ".join(names) == changes
    assert f"\nwarning: {warning}\n" in done.stderr


def test_number_of_events_table_and_archive_is_counted_and_no_part_of_the_identity(tmp_path):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 4)).astype("f4")
    scores = np.where(random.random(400) < 0.1, np.nan, 1 + 4 * random.random(400))
    given = [None if np.isnan(each) else each for each in scores.tolist()]
    lines = [
        line(vector, MONDAY_MS, numbers={"score": each}) for vector, each in zip(vectors, given, strict=True)
    ]
    pa.parquet.write_table(pa.table({"v": list(vectors), "score": given}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", v=vectors, score=scores)
    sources = [write_events(tmp_path / "a.jsonl", lines), tmp_path / "a.parquet", tmp_path / "a.npz"]
    fits = [fit(tmp_path, source, *more) for source in sources for more in (("--number", "score=1:5"), ())]
    assert [done.returncode for done, _ in fits] == [0] * 6
    counted, without = ([shown for _, shown in fits[start::2]] for start in (0, 1))
    for each, other in zip(counted, without, strict=True):
        assert (each["identity"], other["numbers"]) == (other["identity"], {})
        score = each["numbers"]["score"]
        assert score["mean"] == pytest.approx(np.nanmean(scores), abs=1e-4)
        assert (score["count"], score["missing"], score["clipped"]) == (
            *np.bincount(np.isnan(scores)),
            0,
        )
    done, _ = fit(tmp_path, sources[0], "--number", "scores")
    assert (done.returncode, "no vector has a number 'scores'" in done.stderr) == (2, True)
    for wrong in ("score=5:1", "score=0:inf", "score=1", "two words", "", "=0:1"):
        done, _ = fit(tmp_path, sources[0], "--number", wrong)
        assert (done.returncode, "write a name, and its range if it is not 0:1" in done.stderr) == (2, True)


def test_streams_of_a_file_are_fitted_in_one_run(tmp_path):
    names = ("clicks", "models:sentence-transformers/all-MiniLM@v2")
    random = np.random.default_rng(0)
    lines = [
        orjson.dumps({"stream": name, "timestamp": MONDAY_MS, "embedding": random.normal(size=size).tolist()})
        for name, size in zip(names, (4, 6), strict=True)
        for _ in range(200)
    ]
    source = write_events(tmp_path / "events.jsonl", lines)
    fits = ("baseline", "fit", source, "--clusters", 2, "--stream", names[0], "--stream", names[1], "--out")
    done = run(*fits, tmp_path / "{stream}.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    files = ("clicks.safetensors", "models%3Asentence-transformers%2Fall-MiniLM%40v2.safetensors")
    for file, each in zip(files, shown, strict=True):
        assert (each["file"], (tmp_path / file).exists()) == (str(tmp_path / file), True)
    assert [(each["stream"], each["dimension"]) for each in (each["metadata"] for each in shown)] == [
        (names[0], 4),
        (names[1], 6),
    ]
    done = run(*fits, tmp_path / "one.safetensors")
    assert done.returncode == 2
    assert "each stream needs its own file; write {stream} into it" in done.stderr
    assert not (tmp_path / "one.safetensors").exists()


def test_records_in_avro_wait_for_their_schema(tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(200, 4)).tolist()
    values = map(base64.b64encode, (framed(avro({"vector": each}, SCHEMA)) for each in [*vectors, [1, 2, 3]]))
    records = [orjson.dumps({"ts": MONDAY_MS, "payload_base64": value.decode()}) for value in values]
    source = write_events(tmp_path / "a.records.jsonl", records)

    def fit_by(url):
        config = write_config(
            tmp_path,
            {"name": "s"},
            topics={"events": ["orders"]},
            inputs={"orders": AVRO["embeddings"] | {"stream": {"constant": "s"}}},
            schema_registry={"url": url},
        )
        return fit(tmp_path, source, "--config", config)

    with serve_schemas({ID: SCHEMA}, failures=1) as url:
        done, shown = fit_by(url)
    assert (done.returncode, shown["metadata"]["dimension"]) == (0, 4)
    assert "line 201: wrong_dimension: embedding: 3 numbers, the first have 4" in done.stderr
    monkeypatch.setattr(schemas, "_PATIENCE_S", 0.3)
    with serve_schemas({}, failures=ALWAYS) as url:
        done, _ = fit_by(url)
    assert done.returncode == 1
    assert f"the schema registry has not given schema {ID} within" in done.stderr


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_several_streams_of_vectors_without_streams_are_refused(tmp_path, columns, kind):
    source = write_source(tmp_path, kind, columns)
    done = run("baseline", "fit", source, "--stream", "a", "--stream", "b", "--out", tmp_path / "{stream}")
    assert done.returncode == 2
    assert f"{source} names no streams, and each would be fitted on all of its vectors" in done.stderr


def test_times_in_another_unit_are_refused_with_a_hint(tmp_path):
    lines = [line([row, 1], MONDAY_MS // 1_000 + row) for row in range(9)]
    done, _ = fit(tmp_path, write_events(tmp_path / "events.jsonl", lines))
    assert done.returncode == 2
    assert "behind its record's time or the clock" in done.stderr
    assert "the numbers look like seconds: the contract is in milliseconds" in done.stderr


def test_table_without_pyarrow_names_extra(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "driftgauge.baseline.tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done, _ = fit(tmp_path, "a.parquet")
    assert done.returncode == 2
    assert "a.parquet: reading it needs pyarrow; install driftgauge[parquet]" in done.stderr


def test_groups_of_events_measure_overdispersion(tmp_path):
    # Articles of five paragraphs, all at one time.
    lines = [
        line(vector, MONDAY_MS, segments={"document": str(row // 5)})
        for row, vector in enumerate(np.ascontiguousarray(draw_bursts(2_000, 5)))
    ]
    source = write_events(tmp_path / "events.jsonl", lines)
    done, shown = fit(tmp_path, source, "--group", "document", clusters=6)
    assert done.returncode == 0, done.stderr
    assert (shown["metadata"]["window_ms"], shown["segments"]) == (None, [])
    assert shown["metadata"]["groups"] == shown["overdispersion_windows"]
    assert 3 < shown["counts_overdispersion"] < 7
    done, _ = fit(tmp_path, source, "--group", "user", clusters=6)
    assert done.returncode == 2
    assert "no vector has a group 'user'" in done.stderr


@pytest.fixture
def columns():
    """Return columns of 200 vectors of two clusters: their classes, texts and ids."""
    random = np.random.default_rng(0)
    classes = random.integers(2, size=200)
    vectors = (5 * np.eye(4)[classes] + random.normal(scale=0.1, size=(200, 4))).astype("f4")
    labels = [("ice", "road")[each] for each in classes]
    texts = [("the hockey game", "a fast car engine")[each] for each in classes]
    return {
        "v": vectors,
        "label": labels,
        "text": texts,
        "id": [f"{x}-{row}" for row, x in enumerate(labels)],
    }


def write_source(folder, kind, columns):
    path = folder / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **columns)
    elif kind == "parquet":
        pa.parquet.write_table(pa.table({**columns, "v": list(columns["v"])}), path)
    else:
        rows = enumerate(zip(*columns.values(), strict=True))
        lines = [
            line(vector, MONDAY_MS + row * HOUR_MS, segments={"label": label}, text=text, event_id=name)
            for row, (vector, label, text, name) in rows
        ]
        write_events(path, lines)
    return path


@pytest.mark.parametrize("kind", ["npz", "parquet", "jsonl"])
def test_labels_and_texts_name_clusters(tmp_path, columns, kind):
    source = write_source(tmp_path, kind, columns)
    ids = () if kind == "jsonl" else ("--id-column", "id")
    done, shown = fit(tmp_path, source, "--label", "label", *ids)
    assert "\n2 of 2 clusters are named by labels\n" in done.stderr
    assert sorted(each["name"] for each in shown["clusters"]) == ["ice", "road"]
    for cluster in shown["clusters"]:
        assert len(cluster["example_ids"]) == 5
        assert all(each.startswith(cluster["name"]) for each in cluster["example_ids"])
    _, shown = fit(tmp_path, source, "--text", "text")
    assert sorted(each["name"] for each in shown["clusters"]) == ["car, engine, fast", "game, hockey"]
    assert shown["clusters"][0]["example_ids"] == [] or kind == "jsonl"
    done, _ = fit(tmp_path, source)
    assert "named by" not in done.stderr


def test_texts_of_examples_are_kept_only_if_asked_for(tmp_path, columns):
    columns["v"][7] = 40
    source = write_source(
        tmp_path, "jsonl", columns | {"text": [f"{each}, größe" for each in columns["text"]]}
    )
    done, shown = fit(tmp_path, source, "--text", "text", "--keep-all")
    assert done.returncode == 0, done.stderr
    assert (shown["metadata"]["text_bytes"], shown["clusters"][0]["example_texts"]) == (0, [])
    assert "größe".encode() not in (tmp_path / "out.safetensors").read_bytes()
    _, shown = fit(tmp_path, source, "--text", "text", "--keep-all", "--keep-texts", "12")
    kept = {text for each in shown["clusters"] for text in each["example_texts"]}
    assert (shown["metadata"]["text_bytes"], kept) == (12, {"the hocke…", "a fast ca…"})
    assert len(shown["farthest"]["example_texts"]) == len(shown["farthest"]["example_ids"]) > 0
    held = run("baseline", "show", tmp_path / "out.safetensors").stdout
    assert re.search(r"texts +held: 12 bytes of each example's", held)
    assert "farthest" in held


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--keep-texts", "80"), "--keep-texts keeps texts of the column of --text; name the column"),
        (("--label", "none"), "no vector has a label 'none'; name a column with values"),
        (("--text", "none"), "or a path in the record's value, or leave out --text"),
    ],
)
def test_unusable_names_exit_with_2(tmp_path, columns, arguments, fault):
    done, _ = fit(tmp_path, write_source(tmp_path, "jsonl", columns), *arguments)
    assert done.returncode == 2
    assert fault in done.stderr


def record_events(path):
    """Write events of 60 hours, in bursts of three, with two frequent countries and a rare one."""
    random = np.random.default_rng(0)
    lines = []
    for hour in range(60):
        for burst, country in enumerate(["de", "fr", "de", "fr", "us"] * 4):
            centre = np.eye(4)[random.integers(4)]
            for i in range(3):
                vector = (centre + random.normal(scale=0.1, size=4)).round(3).tolist()
                time_ms = MONDAY_MS + hour * HOUR_MS + burst * 1_000 + i
                row = {"stream": "images", "timestamp": time_ms, "embedding": vector}
                lines.append(json.dumps({**row, "segments": {"country": country}}).encode())
    return write_events(path, lines)


def test_baseline_of_events_is_fitted_shown_and_used(tmp_path):
    events = record_events(tmp_path / "history.jsonl.gz")
    out, day = tmp_path / "images.safetensors", tmp_path / "day.safetensors"
    arguments = ("fit", events, "--stream", "images", "--clusters", 4, "--segment", "country=de,fr")
    fit = run("baseline", *arguments, "--out", out)
    assert fit.returncode == 0, fit.stderr
    assert "windows of 1h held out: counts vary" in fit.stderr
    assert run("baseline", "show", out).stdout == fit.stdout
    shown = json.loads(run("baseline", "show", out, "--json").stdout)
    metadata = shown["metadata"]
    assert (metadata["stream"], metadata["window_ms"], metadata["training_set"]) == ("images", HOUR_MS, False)
    assert shown["overdispersion_windows"] == 30
    assert 2 < shown["counts_overdispersion"] < 4.5
    segments = [(segment["key"], segment["value"]) for segment in shown["segments"]]
    assert segments == [("country", "de"), ("country", "fr"), ("country", "other")]

    coarse = run("baseline", *arguments, "--out", day, "--window", "1d", "--training-set")
    assert coarse.returncode == 0, coarse.stderr
    assert "bursts: the events are of 3 windows of 1d" in coarse.stderr
    assert "note: The model was trained on this reference" in coarse.stdout
    compared = run("baseline", "show", out, "--against", day)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert f"\nagainst {day}\n" in compared.stdout
    assert json.loads(run("baseline", "show", out, "--against", day, "--json").stdout)["against"][
        "mean_excess"
    ]

    config = write_config(tmp_path, {"smallest_drift": {"mean_shift": 0.4}})
    own = run("baseline", "show", out, "--against", day, "--config", config, "--json")
    against = json.loads(own.stdout)["against"]
    assert (against["mean_floor"], against["js_floor"]) == (0.2, 0.005)
    for name, remedy in (("other", "leave out --config"), ("image", "did you mean image?")):
        others = write_config(tmp_path, {"name": name})
        refused = run("baseline", "show", out, "--against", day, "--config", others)
        fault = f"does not name the stream images of the baseline; {remedy}"
        assert (refused.returncode, fault in refused.stderr) == (2, True)

    config = write_config(tmp_path)
    assert run("config", "check", "--config", config).returncode == 0
    lines = [build_event(MONDAY_MS + DAY_MS, i % 4) for i in range(400)]
    done = run("replay", write_events(tmp_path / "events.jsonl", lines), "--config", config, "--json")
    assert [each["count"] for each in json.loads(done.stdout.splitlines()[0])["clusters"]] == [100] * 4
