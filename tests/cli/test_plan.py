"""`driftgauge plan`."""

import json

from tests.builders.baselines import save_baseline
from tests.cli.command import run


def test_plan_recommends_windows_for_traffic():
    done = run("plan", "--events-per-hour", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Recommended: windows of 6h" in done.stdout
    options = ("--clusters", 60, "--baseline-count", 100_000, "--streams", 2, "--dispersion", 1.5)
    record = json.loads(run("plan", "--events-per-hour", "1000", *options, "--json").stdout)
    assert (record["clusters"], record["baseline_count"], record["streams"]) == (60, 100_000, 2)
    assert record["inflation"] == {"counts": 1.5, "means": 1.5}
    assert record["smallest_drift"] == {"js_divergence": 0.01, "mean_shift": 0.05}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (1, False)
    options = ("--smallest-divergence", 0.02, "--smallest-shift", 0.1, "--false-pages-per-year", 12)
    record = json.loads(run("plan", "--events-per-hour", "1000", *options, "--daily-cycle", "--json").stdout)
    assert record["smallest_drift"] == {"js_divergence": 0.02, "mean_shift": 0.1}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (12, True)
    assert record["recommended"] == "1d"


def test_plan_uses_figures_of_baseline_and_rejects_repeated_options(tmp_path):
    save_baseline(tmp_path)
    path = tmp_path / "images.safetensors"
    done = run("plan", "--events-per-hour", "1000", "--baseline", path, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["clusters"], record["components"], record["baseline_count"]) == (4, 2, 100)
    done = run("plan", "--events-per-hour", "1000", "--baseline", path, "--clusters", 5)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--baseline already sets --clusters; remove --baseline or these options" in done.stderr
