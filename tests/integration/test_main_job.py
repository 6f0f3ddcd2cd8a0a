"""The main job on real input, end to end: baseline, broker, service, results, gauges, replay."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from deploy.demo.digits import DigitSplit, ImageQuality, degrade, shift_randomly, split_digits
from deploy.demo.network import MODEL_VERSION, Network, train
from numpy.typing import NDArray
from pyarrow import parquet

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.kafka.publisher import Publication, publish
from tests.harness.case import DAY_MS, HOUR_MS, START_MS, Case, WindowKey
from tests.harness.gauges import wait_until_shown
from tests.harness.service import driftgauge
from tests.needed import skip_or_fail
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

EMBEDDINGS = Path(__file__).parents[3] / "shared" / "data" / "cifar10-resnet18-fc1.npz"
WEEK = 7
EVENTS_PER_DAY = 1_000
DIGITS_DAYS = 3
DIGITS_PER_DAY = 600


@dataclass(frozen=True)
class JobRun:
    """The results of a run of the service."""

    case: Case
    final: dict[WindowKey, dict[str, Any]]

    @property
    def days(self) -> list[dict[str, Any]]:
        """The daily results in order of time."""
        return [record for (_, window, _), record in sorted(self.final.items()) if window == "1d"]


def run(case: Case, expected: dict[WindowKey, int], *, replicas: int) -> JobRun:
    """Serve until every window is published with the expected count, and its gauges are shown."""
    total = sum(number for (_, window, _), number in expected.items() if window == "1d")
    with ExitStack() as running:
        services = [running.enter_context(case.serve(f"replica-{number}")) for number in range(replicas)]
        case.wait_for_counts(services[0], expected)
        final = case.final_results()
        wait_until_shown(services, final)
        wait_for(
            "all events to be counted",
            lambda: sum(service.outcomes("accepted") for service in services) == total,
        )
        for service in services:
            service.stop()
    assert case.dead_letters() == []
    return JobRun(case, final)


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
    return run(case, {("resnet18-fc1", "1d", day): EVENTS_PER_DAY for day in days}, replicas=2)


@cache
def network() -> tuple[DigitSplit, Network]:
    split = split_digits(0)
    return split, train(split.training, 0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> JobRun:
    """The demo's traffic in short: days of clean, blurred and darkened digits."""
    split, digits_network = network()
    rng = np.random.default_rng(0)
    case = Case(
        tmp_path_factory.mktemp("digits"),
        bootstrap,
        windows=("6h", "1d"),
        streams=(),
        partitions=3,
        stream_settings={"allowed_disorder": "1h"},
    )
    case.streams = ("digits",)
    case.write_config()
    reference = shift_randomly(split.reference, np.tile(np.arange(len(split.reference.labels)), 4), rng)
    baseline = fit_baseline(
        digits_network.embed(reference),
        stream="digits",
        model_version=MODEL_VERSION,
        clusters=10,
        created_ms=START_MS,
        progress=lambda _: None,
    )
    save(baseline, case.folder / "digits.safetensors")
    vectors: list[NDArray[np.float32]] = []
    for quality in ImageQuality:
        rows = rng.integers(len(split.traffic.labels), size=DIGITS_DAYS * DIGITS_PER_DAY)
        vectors.append(digits_network.embed(degrade(shift_randomly(split.traffic, rows, rng), quality)))
    publication = Publication.spread(
        topic=case.events_topic,
        stream="digits",
        vectors=np.concatenate(vectors),
        start_ms=START_MS,
        span_ms=3 * DIGITS_DAYS * DAY_MS,
        disorder_ms=HOUR_MS,
        seed=0,
        model_version=MODEL_VERSION,
    )
    publish(case.producer(), publication, rate=None)
    starts = [f"2025-11-{3 + day:02}T" for day in range(3 * DIGITS_DAYS)]
    expected = {("digits", "1d", f"{start}00:00:00Z"): DIGITS_PER_DAY for start in starts}
    expected |= {
        ("digits", "6h", f"{start}{hour:02}:00:00Z"): DIGITS_PER_DAY // 4
        for start in starts
        for hour in (0, 6, 12, 18)
    }
    return run(case, expected, replicas=1)


def command(*arguments: str | Path) -> str:
    done = driftgauge(*arguments, timeout_s=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weekly_means(days: list[dict[str, Any]]) -> list[float]:
    """The mean divergence of each third of the days."""
    return np.array([day["js_divergence"] for day in days]).reshape(3, -1).mean(axis=1).tolist()


def test_cifar_10_divergence_rises_with_exact_daily_counts(cifar: JobRun) -> None:
    assert [day["count"] for day in cifar.days] == [EVENTS_PER_DAY] * 3 * WEEK
    clean, blurred, darkened = weekly_means(cifar.days)
    assert clean < 0.02
    assert blurred > 0.10
    assert darkened > blurred
    # The first day is drift by itself, since the baseline is calibrated on days and the drift is large.
    verdicts = [day["verdict"] for day in cifar.days]
    assert verdicts == ["ok"] * WEEK + ["drift"] * 2 * WEEK
    assert {day["kind"] for day in cifar.days[:WEEK]} == {None}
    assert {day["kind"] for day in cifar.days[WEEK:]} == {"shift"}


def test_digits_divergence_rises_with_image_quality_loss(digits: JobRun) -> None:
    clean, blurred, darkened = (
        [day["js_divergence"] for day in digits.days[first : first + DIGITS_DAYS]]
        for first in range(0, 3 * DIGITS_DAYS, DIGITS_DAYS)
    )
    assert max(clean) < min(blurred)
    assert max(blurred) < min(darkened)


@pytest.fixture(params=["cifar", "digits"])
def job_run(request: pytest.FixtureRequest) -> JobRun:
    found: JobRun = request.getfixturevalue(request.param)
    return found


def test_replay_of_topic_gives_same_results(job_run: JobRun, tmp_path: Path) -> None:
    partitions: dict[int, list[bytes]] = {}
    for message in job_run.case.read(job_run.case.events_topic):
        partitions.setdefault(message.partition() or 0, []).append(message.value() or b"")
    files = [tmp_path / f"{partition}.jsonl" for partition in partitions]
    for file, values in zip(files, partitions.values(), strict=True):
        file.write_bytes(b"".join(value + b"\n" for value in values))

    printed = command("replay", "--json", "--config", job_run.case.config, *files)

    replayed: dict[WindowKey, dict[str, Any]] = {}
    for line in printed.splitlines():
        record = json.loads(line)
        replayed[record["stream"], record["window"], record["start"]] = record
    assert without_revision(replayed) == without_revision(job_run.final)


def without_revision(results: dict[WindowKey, dict[str, Any]]) -> dict[WindowKey, dict[str, Any]]:
    """Return the results without revisions, as the number of corrections depends on the reader's pace."""
    return {
        key: {name: value for name, value in record.items() if name != "revision"}
        for key, record in results.items()
    }
