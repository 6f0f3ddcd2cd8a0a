"""`driftgauge baseline fit`: the choice of a source, and tables."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.events import write_events
from tests.cli.command import run

MONDAY = "2025-11-03T00:00:00Z"
HOURS = 60
AN_HOUR = 60


@pytest.fixture
def columns():
    """Events of 60 hours of two countries: vectors, times and countries."""
    random = np.random.default_rng(0)
    rows = HOURS * AN_HOUR
    vectors = np.eye(4)[random.integers(4, size=rows)] + random.normal(scale=0.1, size=(rows, 4))
    times_ms = MONDAY_MS + np.arange(rows) * (HOUR_MS // AN_HOUR)
    return vectors.astype("f4"), times_ms, np.array(["de", "fr"])[random.integers(2, size=rows)]


def test_baseline_of_table_equals_baseline_of_events(tmp_path, columns):
    vectors, times_ms, countries = columns
    lines = [
        {"stream": "s", "timestamp": time, "embedding": vector, "segments": {"country": country}}
        for vector, time, country in zip(
            vectors.astype(float).tolist(), times_ms.tolist(), countries.tolist(), strict=True
        )
    ]
    events = write_events(tmp_path / "events.jsonl", [json.dumps(line).encode() for line in lines])
    table = {"v": list(vectors), "at": pa.array(times_ms, pa.timestamp("ms")), "land": countries}
    pa.parquet.write_table(pa.table(table), tmp_path / "events.parquet")
    arguments = ("--stream", "s", "--clusters", 4, "--segment", "country=de,fr", "--model-version", "v1")
    identities = []
    for source, more in (
        (events, ()),
        (tmp_path / "events.parquet", ("--time-column", "at", "--segment-column", "country=land")),
    ):
        out = tmp_path / "out.safetensors"
        done = run("baseline", "fit", source, *arguments, *more, "--out", out)
        assert done.returncode == 0, done.stderr
        assert "windows of 1h held out: counts vary" in done.stderr
        identities.append(json.loads(run("baseline", "show", out, "--json").stdout)["identity"])
    assert identities[0] == identities[1]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "name either INPUT, a file, or --topic with --config and --from"),
        (("a.npy", "--topic", "t"), "name either INPUT, a file, or --topic with --config and --from"),
        (("a.npy", "--from", MONDAY), "--config, --from and --until belong to --topic"),
        (("--topic", "t", "--time-column", "at"), "--array and the options of columns belong to INPUT"),
        (("--topic", "t"), "--topic needs --config, the configuration file, and --from"),
        (
            (
                "--topic",
                "t",
                "--config",
                "c",
                "--from",
                "2025-11-03T00:00:00Z",
                "--until",
                "2025-11-03T00:00:00Z",
            ),
            "--until must be later than --from",
        ),
        (
            ("a.parquet", "--segment", "k=v", "--segment-column", "j=c"),
            "--segment-column j=c: write KEY=",
        ),
        (("a.txt",), "name a .npy, .npz, .jsonl or .jsonl.gz file, or one of .parquet, .arrow"),
    ],
)
def test_unusable_choice_of_source_exits_with_2(tmp_path, arguments, fault):
    done = run("baseline", "fit", *arguments, "--stream", "s", "--out", tmp_path / "out.safetensors")
    assert done.returncode == 2
    assert fault in done.stderr


def test_table_without_pyarrow_names_extra(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "driftgauge.baseline.tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "driftgauge.baseline.table_columns", raising=False)
    done = run("baseline", "fit", "a.parquet", "--stream", "s", "--out", tmp_path / "out.safetensors")
    assert done.returncode == 2
    assert "a.parquet: reading it needs pyarrow; install driftgauge[parquet]" in done.stderr
