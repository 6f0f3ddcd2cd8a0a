"""`driftgauge baseline`: fitted on recorded events, shown and used."""

import json

import numpy as np

from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.cli.command import run


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
