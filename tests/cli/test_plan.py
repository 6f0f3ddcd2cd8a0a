"""`driftgauge plan`: its report, and how its options reach the plan."""

import json

import pytest

from tests.builders.baselines import save_baseline
from tests.cli.command import run


def plan(*options):
    done = run("plan", "--events-per-hour", "1000", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_plan_recommends_windows_for_traffic(snapshot):
    text = plan()
    assert "Recommended: windows of 6h" in text
    assert text == snapshot


def test_options_and_baseline_reach_plan(tmp_path):
    options = ("--clusters", 60, "--components", 9, "--baseline-count", 100_000, "--overdispersion", 1.5)
    drift = ("--smallest-js-divergence", 0.02, "--smallest-mean-shift", 0.1, "--smallest-spread", 0.3)
    budget = ("--streams", 2, "--false-pages-per-year", 12)
    record = json.loads(plan(*options, *drift, *budget, "--daily-cycle", "--json"))
    assert record["request"] == {
        "events_per_hour": 1_000,
        "smallest": {
            "js_divergence": 0.02,
            "mean_shift": 0.1,
            "novelty": 0.02,
            "spread": 0.3,
            "duplicates": 0.05,
            "relations": 0.2,
        },
        "false_pages_per_year": 12,
        "streams": 2,
        "daily_cycle": True,
    }
    assert (record["clusters"], record["components"]) == (60, 9)
    assert record["recommended"] == record["windows"][4]
    # By 60 clusters, 100,000 events of the baseline, and the overdispersion.
    assert record["windows"][5]["least"]["js_divergence"] == pytest.approx(0.000233, abs=1e-6)
    save_baseline(tmp_path)
    record = json.loads(plan("--baseline", tmp_path / "images.safetensors", "--json"))
    assert (record["clusters"], record["components"]) == (4, 2)
    # Its spreads and relations do not vary, so that windows are not tested for them.
    assert record["windows"][0]["least"].keys() == {"js_divergence", "mean_shift", "novelty", "duplicates"}
