"""`driftgauge plan`: its report, and how its options reach the plan."""

import json

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
    options = ("--clusters", 60, "--baseline-count", 100_000, "--streams", 2, "--overdispersion", 1.5)
    drift = ("--smallest-divergence", 0.02, "--smallest-shift", 0.1, "--false-pages-per-year", 12)
    record = json.loads(plan(*options, *drift, "--daily-cycle", "--json"))
    assert record["request"] == {
        "events_per_hour": 1_000,
        "sensitivity": {
            "clusters": 60,
            "components": 32,
            "baseline_count": 100_000,
            "counts_overdispersion": 1.5,
            "means_overdispersion": 1.5,
            "mean_count": 100_000,
        },
        "js_divergence": 0.02,
        "mean_shift": 0.1,
        "false_pages_per_year": 12,
        "streams": 2,
        "daily_cycle": True,
    }
    assert record["recommended"] == record["windows"][4]
    save_baseline(tmp_path)
    record = json.loads(plan("--baseline", tmp_path / "images.safetensors", "--json"))
    assert record["request"]["sensitivity"]["baseline_count"] == 100
    assert (record["request"]["js_divergence"], record["request"]["daily_cycle"]) == (0.01, False)
