"""The main job on real input, end to end: baseline, broker, service, results."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.harness.case import DAY_MS, START_MS, Case
from tests.harness.service import driftgauge
from tests.needed import skip_or_fail
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.broker

EMBEDDINGS = Path(__file__).parents[3] / "shared" / "data" / "cifar10-resnet18-fc1.npz"
WEEK = 7
EVENTS_PER_DAY = 1_000


def run_weeks(folder: Path, bootstrap: str) -> list[dict[str, Any]]:
    """Publish three weeks of 1,000 events a day with the command line; return the days' last results."""
    if not EMBEDDINGS.exists():
        reason = f"the CIFAR-10 embeddings are not here: no {EMBEDDINGS.name} in {EMBEDDINGS.parent}"
        skip_or_fail(reason)
    case = Case(
        folder,
        bootstrap,
        windows=("1d",),
        streams=(),
        partitions=6,
        stream_settings={"allowed_disorder": "1h", "min_events": None},
    )
    case.streams = ("resnet18-fc1",)
    case.write_config()
    baseline = case.folder / "resnet18-fc1.safetensors"
    with np.load(EMBEDDINGS) as arrays:
        train = np.random.default_rng(0).permutation(arrays["train"].astype(np.float32))
        weeks = [arrays[name][: WEEK * EVENTS_PER_DAY] for name in ("test", "blurred", "darkened")]
    # Days of training images, so that results are calibrated.
    days_before = np.arange(len(train)) // EVENTS_PER_DAY + 1
    table = case.folder / "train.parquet"
    columns = {"embedding": list(train), "at": START_MS - days_before * DAY_MS}
    parquet.write_table(pyarrow.table(columns), table)
    command(
        *("baseline", "fit", table, "--time-column", "at", "--window", "1d"),
        *("--stream", "resnet18-fc1", "--out", baseline),
    )
    traffic = case.folder / "traffic.npy"
    np.save(traffic, np.concatenate(weeks))
    command(
        *("publish", traffic, "--config", case.config, "--stream", "resnet18-fc1"),
        *("--start", "2025-11-03T00:00:00Z", "--span", "21d", "--disorder", "1h", "--base64"),
    )
    days = [f"2025-11-{3 + day:02}T00:00:00Z" for day in range(3 * WEEK)]
    with case.serving("replica-0") as first, case.serving("replica-1") as second:
        case.wait_for_counts(first, {("resnet18-fc1", "1d", day): EVENTS_PER_DAY for day in days})
        total = 3 * WEEK * EVENTS_PER_DAY
        wait_for("all to be counted", lambda: first.counted() + second.counted() == total)
    assert case.dead_letters() == []
    return [record for _, record in sorted(case.final_results().items())]


def command(*arguments: str | Path) -> None:
    done = driftgauge(*arguments, timeout_s=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_cifar_10_divergence_rises_with_exact_daily_counts(tmp_path: Path, bootstrap: str) -> None:
    days = run_weeks(tmp_path, bootstrap)
    divergences = np.array([day["js_divergence"] for day in days])
    clean, blurred, darkened = divergences.reshape(3, WEEK).mean(axis=1)
    assert clean < 0.02
    assert blurred > 0.10
    assert darkened > blurred
    # The first day is drift by itself, since the baseline is calibrated on days and the drift is large.
    assert [day["verdict"] for day in days] == ["ok"] * WEEK + ["drift"] * 2 * WEEK
    assert [day["kind"] for day in days] == [None] * WEEK + ["shift"] * 2 * WEEK
