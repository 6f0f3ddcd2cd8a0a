"""`driftgauge baseline`."""

import json

import numpy as np
import pytest

from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.cli.command import run


def test_baseline_is_fitted_shown_and_used(tmp_path):
    random = np.random.default_rng(0)
    vectors = (np.eye(4)[random.integers(4, size=800)] + random.normal(scale=0.05, size=(800, 4))).astype(
        "f4"
    )
    np.save(tmp_path / "vectors.npy", vectors)
    out = tmp_path / "images.safetensors"
    fit = run(
        "baseline", "fit", tmp_path / "vectors.npy", "--stream", "images", "--clusters", "4", "--out", out
    )
    assert fit.returncode == 0, fit.stderr
    shown = run("baseline", "show", out, "--json")
    assert json.loads(shown.stdout)["stream"] == "images"
    assert run("baseline", "show", out).stdout == fit.stdout
    assert run("config", "check", "--config", write_config(tmp_path)).returncode == 0
    events = write_events(
        tmp_path / "events.jsonl", [build_event(MONDAY_MS + DAY_MS, i % 4) for i in range(400)]
    )
    done = run("replay", events, "--config", tmp_path / "driftgauge.yaml", "--json")
    record = json.loads(done.stdout.splitlines()[0])
    assert [cluster["count"] for cluster in record["clusters"]] == [100] * 4


@pytest.fixture
def recorded_events(tmp_path):
    """Recorded events of 60 hours, in bursts of three, with two frequent countries and a rare one."""
    random = np.random.default_rng(0)
    lines = []
    for hour in range(60):
        for burst in range(20):
            cluster, country = random.integers(4), ["de", "fr", "de", "fr", "us"][burst % 5]
            for i in range(3):
                vector = [
                    round(x, 3) for x in (np.eye(4)[cluster] + random.normal(scale=0.1, size=4)).tolist()
                ]
                time_ms = MONDAY_MS + hour * HOUR_MS + burst * 1_000 + i
                row = {"stream": "images", "timestamp": time_ms, "embedding": vector}
                lines.append(json.dumps({**row, "segments": {"country": country}}).encode())
    return write_events(tmp_path / "history.jsonl.gz", lines)


def test_baseline_of_events_has_overdispersion_and_segments(tmp_path, recorded_events):
    out = tmp_path / "images.safetensors"
    arguments = ("--stream", "images", "--clusters", 4, "--segment", "country=de,fr", "--out", out)
    fit = run("baseline", "fit", recorded_events, *arguments)
    assert fit.returncode == 0, fit.stderr
    assert "windows of 1h held out: counts vary" in fit.stderr
    assert run("baseline", "show", out).stdout == fit.stdout
    shown = json.loads(run("baseline", "show", out, "--json").stdout)
    assert shown["window_ms"] == HOUR_MS
    assert shown["overdispersion"]["windows"] == 30
    assert 2 < shown["overdispersion"]["counts"] < 4.5
    assert [(segment["key"], segment["value"]) for segment in shown["segments"]] == [
        ("country", "de"),
        ("country", "fr"),
        ("country", "other"),
    ]
    assert shown["training_set"] is False

    day = tmp_path / "day.safetensors"
    coarse = run("baseline", "fit", recorded_events, *arguments[:-1], day, "--window", "1d", "--training-set")
    assert coarse.returncode == 0, coarse.stderr
    assert "warning: the events are of 3 windows of 1d" in coarse.stderr
    assert "note: The model was trained on this reference" in coarse.stdout

    compared = run("baseline", "compare", out, day)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert compared.stdout.startswith(f"A  {out}\nB  {day}\n\nResults against A and B can")
    document = json.loads(run("baseline", "compare", out, day, "--json").stdout)
    assert (document["a"]["window_ms"], document["b"]["window_ms"]) == (HOUR_MS, None)
    assert len(document["matches"]) == 4


def test_fit_with_segments_of_plain_vectors_exits_with_2(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(800, 4)).astype("f4"))
    arguments = ("--stream", "s", "--segment", "country=de", "--out", tmp_path / "b.safetensors")
    done = run("baseline", "fit", tmp_path / "vectors.npy", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "only events carry segments; fit on a .jsonl or .jsonl.gz file" in done.stderr


def test_fit_into_missing_folder_exits_with_2(tmp_path):
    done = run(
        "baseline", "fit", tmp_path / "a.npy", "--stream", "s", "--out", tmp_path / "no" / "b.safetensors"
    )
    assert done.returncode == 2
    assert "no is not a folder; create it, or choose another path for --out" in done.stderr
