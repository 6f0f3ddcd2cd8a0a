"""The main job on real input, end to end: baseline, broker, service, results, gauges, replay."""

import json
from dataclasses import dataclass
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


@dataclass(frozen=True)
class JobRun:
    """A run of the service, and its last results in order of time."""

    case: Case
    days: list[dict[str, Any]]


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> JobRun:
    """Three weeks of 1,000 events a day, published with the command line."""
    if not EMBEDDINGS.exists():
        reason = f"the CIFAR-10 embeddings are not here: no {EMBEDDINGS.name} in {EMBEDDINGS.parent}"
        skip_or_fail(reason)
    case = Case(
        tmp_path_factory.mktemp("cifar"),
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
    return JobRun(case, [record for _, record in sorted(case.final_results().items())])


def command(*arguments: str | Path) -> str:
    done = driftgauge(*arguments, timeout_s=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cifar_10_divergence_rises_with_exact_daily_counts(cifar: JobRun) -> None:
    divergences = np.array([day["js_divergence"] for day in cifar.days])
    clean, blurred, darkened = divergences.reshape(3, WEEK).mean(axis=1)
    assert clean < 0.02
    assert blurred > 0.10
    assert darkened > blurred
    # The first day is drift by itself, since the baseline is calibrated on days and the drift is large.
    verdicts = [day["verdict"] for day in cifar.days]
    assert verdicts == ["ok"] * WEEK + ["drift"] * 2 * WEEK
    assert {day["kind"] for day in cifar.days[:WEEK]} == {None}
    assert {day["kind"] for day in cifar.days[WEEK:]} == {"shift"}


def test_replay_of_topic_gives_same_results(cifar: JobRun, tmp_path: Path) -> None:
    partitions: dict[int, list[bytes]] = {}
    for message in cifar.case.read(cifar.case.events_topic):
        partitions.setdefault(message.partition() or 0, []).append(message.value() or b"")
    files = [tmp_path / f"{partition}.jsonl" for partition in partitions]
    for file, values in zip(files, partitions.values(), strict=True):
        file.write_bytes(b"".join(value + b"\n" for value in values))

    printed = command("replay", "--json", "--config", cifar.case.config, *files)

    # The number of corrections, and what was applied before a result, depend on the reader's pace.
    pace = {"revision": 0, "applied_total": None, "late_total": None}
    replayed = {record["start"]: record | pace for record in map(json.loads, printed.splitlines())}
    assert [replayed[start] for start in sorted(replayed)] == [day | pace for day in cifar.days]
