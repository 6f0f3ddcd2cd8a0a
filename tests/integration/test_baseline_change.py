"""A scheduled baseline change, announced in a rolling update under load, takes effect at the cut."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline, load, save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.durations import parse_duration
from driftgauge.events.timestamps import format_timestamp
from tests.harness.case import DIMENSION, MINUTE_MS, START_MS, Case, SourceEvent, WindowKey
from tests.harness.service import NO_CHAIN_FAULTS
from tests.harness.traffic import publishing

pytestmark = pytest.mark.broker

REPLICAS = "ab"
PARTITIONS = 6
CLUSTERS_AFTER = 6
RATE = 360.0
"""Events a second."""
EVENTS_PER_MINUTE = 180
"""A minute of event time, so that two windows end each second."""
CUT_MS = START_MS + 9 * MINUTE_MS
# Least difference of the squared distances of the two nearest centroids, so that rounding cannot decide.
MARGIN = 0.01


def distances(vectors: NDArray[np.float32], baseline: Baseline) -> NDArray[np.float64]:
    """Return the (n, k) squared distances from the centroids."""
    differences = vectors[:, np.newaxis].astype(np.float64) - baseline.centroids.values.astype(np.float64)
    result: NDArray[np.float64] = np.square(differences).sum(axis=2)
    return result


def are_clear(vectors: NDArray[np.float32], baseline: Baseline) -> NDArray[np.bool_]:
    first, second = np.partition(distances(vectors, baseline), 1, axis=1)[:, :2].T
    clear: NDArray[np.bool_] = second - first > MARGIN
    return clear


class CutoverTraffic:
    """Events in order of time until `close`, each with an unambiguous nearest centroid.

    Their time stays before the cut until `is_announced` is set.
    """

    def __init__(self, baselines: list[Baseline]) -> None:
        self.sent: list[SourceEvent] = []
        self.is_announced = threading.Event()
        self._ended = False
        vectors = np.random.default_rng(70).normal(size=(1_000, DIMENSION)).astype(np.float32)
        for baseline in baselines:
            vectors = vectors[are_clear(vectors, baseline)]
        self._vectors = vectors

    def __iter__(self) -> Iterator[SourceEvent]:
        time_ms = START_MS
        for number in count():
            if self._ended:
                return
            step_ms = MINUTE_MS // EVENTS_PER_MINUTE
            if time_ms + step_ms < CUT_MS or self.is_announced.is_set():
                time_ms += step_ms
            self.sent.append(
                SourceEvent("alpha", time_ms, self._vectors[number % len(self._vectors)], number % PARTITIONS)
            )
            yield self.sent[-1]

    def close(self) -> None:
        self._ended = True


def true_clusters(case: Case, events: list[SourceEvent], baseline: Baseline) -> dict[WindowKey, list[int]]:
    """Return each window's number of events by cluster, as counted with this baseline."""
    clusters = distances(np.array([event.vector for event in events]), baseline).argmin(axis=1).tolist()
    counts: dict[WindowKey, Counter[int]] = defaultdict(Counter)
    for window in case.windows:
        size_ms = parse_duration(window)
        for event, cluster in zip(events, clusters, strict=True):
            start = format_timestamp(event.time_ms - event.time_ms % size_ms)
            counts[event.stream, window, start][cluster] += 1
    number = len(baseline.centroids.values)
    return {key: [counted[cluster] for cluster in range(number)] for key, counted in counts.items()}


def test_window_is_compared_with_baseline_at_its_start(tmp_path: Path, bootstrap: str) -> None:
    settings = {"allowed_disorder": "5s", "allowed_lateness": "1m"}
    case = Case(tmp_path, bootstrap, windows=("1m", "3m"), partitions=PARTITIONS, stream_settings=settings)
    old = load(tmp_path / "alpha.safetensors")
    new = fit_baseline(
        np.random.default_rng(71).normal(0.5, size=(900, DIMENSION)).astype(np.float32),
        stream="alpha",
        model_version=None,
        clusters=CLUSTERS_AFTER,
        created_ms=START_MS,
        progress=lambda _: None,
    )
    save(new, tmp_path / "new.safetensors")
    traffic = CutoverTraffic([old, new])
    schedule = [{"file": "alpha.safetensors"}, {"file": "new.safetensors", "from": format_timestamp(CUT_MS)}]

    with ExitStack() as running:
        replicas = {name: running.enter_context(case.serve(name)) for name in REPLICAS}
        for replica in replicas.values():
            replica.wait_until_ready()
        with publishing(case, traffic, rate=RATE), closing(traffic):
            replicas["a"].wait_for("windows before", lambda: len(case.results()) > 3)
            case.stream_settings = settings | {"baseline": None, "baselines": schedule}
            case.write_config()
            for name in REPLICAS:
                replicas[name].stop()
                replicas[name] = running.enter_context(case.serve(name))
                replicas[name].wait_until_ready()
            traffic.is_announced.set()
            replicas["a"].wait_for(
                "windows after the cut",
                lambda: sum(record["baseline"] == new.identity for record in case.results()) > 3,
            )
        events = traffic.sent
        case.wait_for_counts(replicas["a"], case.counts_of(events))
        for replica in replicas.values():
            assert replica.chain_faults() == NO_CHAIN_FAULTS

    cut = format_timestamp(CUT_MS)
    expected = {baseline.identity: true_clusters(case, events, baseline) for baseline in (old, new)}
    for key, record in case.final_results().items():
        counts = [cluster["count"] for cluster in record["clusters"]]
        assert counts == expected[record["baseline"]][key]
        assert record["incomplete_reason"] is None
    for record in case.results():
        assert record["baseline"] == (old if record["start"] < cut else new).identity
    assert case.dead_letters() == []
