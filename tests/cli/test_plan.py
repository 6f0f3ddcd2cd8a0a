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
    options = ("--clusters", 60, "--baseline-count", 100_000, "--streams", 2, "--dispersion", 1.5)
    drift = ("--smallest-divergence", 0.02, "--smallest-shift", 0.1, "--false-pages-per-year", 12)
    record = json.loads(plan(*options, *drift, "--daily-cycle", "--json"))
    assert (record["clusters"], record["baseline_count"], record["streams"]) == (60, 100_000, 2)
    assert record["inflation"] == {"counts": 1.5, "means": 1.5}
    assert record["smallest_drift"] == {"js_divergence": 0.02, "mean_shift": 0.1}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (12, True)
    save_baseline(tmp_path)
    record = json.loads(plan("--baseline", tmp_path / "images.safetensors", "--json"))
    assert (record["clusters"], record["components"], record["baseline_count"]) == (4, 2, 100)
    assert record["smallest_drift"] == {"js_divergence": 0.01, "mean_shift": 0.05}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (1, False)
