"""A rolling update to a new baseline, under load: no window is half and half."""

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
from driftgauge.core.state import BaselineKey, PaneKey, ProgressKey
from driftgauge.events.timestamps import format_timestamp
from tests.integration.case import DIMENSION, MINUTE_MS, START_MS, Case, Event, WindowKey
from tests.integration.service import wait_for
from tests.integration.state import read_state
from tests.integration.traffic import publishing

pytestmark = pytest.mark.integration

REPLICAS = "abc"
PARTITIONS = 6
CLUSTERS_AFTER = 6
RATE = 360.0
"""Events a second."""
EVENTS_PER_MINUTE = 180
"""Of event time, so that two windows end each second."""
# Squared distance by which the second nearest centroid is farther: rounding must not decide.
MARGIN = 0.01


def distances(vectors: NDArray[np.float32], baseline: Baseline) -> NDArray[np.float64]:
    """The (n, k) squared distances from the centroids."""
    differences = vectors[:, np.newaxis].astype(np.float64) - baseline.centroids.values.astype(np.float64)
    result: NDArray[np.float64] = np.square(differences).sum(axis=2)
    return result


def are_clear(vectors: NDArray[np.float32], baseline: Baseline) -> NDArray[np.bool_]:
    first, second = np.partition(distances(vectors, baseline), 1, axis=1)[:, :2].T
    clear: NDArray[np.bool_] = second - first > MARGIN
    return clear


class Traffic:
    """Events in order of time until it is closed; the nearest centroid of each is beyond doubt."""

    def __init__(self, baselines: list[Baseline]) -> None:
        self.sent: list[Event] = []
        self._ended = False
        vectors = np.random.default_rng(70).normal(size=(1_000, DIMENSION)).astype(np.float32)
        for baseline in baselines:
            vectors = vectors[are_clear(vectors, baseline)]
        self._vectors = vectors

    def __iter__(self) -> Iterator[Event]:
        for number in count():
            if self._ended:
                return
            time_ms = START_MS + number * MINUTE_MS // EVENTS_PER_MINUTE
            vector = self._vectors[number % len(self._vectors)]
            self.sent.append(Event("alpha", time_ms, vector, number % PARTITIONS))
            yield self.sent[-1]

    def close(self) -> None:
        self._ended = True


def true_clusters(case: Case, events: list[Event], baseline: Baseline) -> dict[WindowKey, list[int]]:
    """The events of each window by cluster, were all counted against one baseline."""
    clusters = distances(np.array([event.vector for event in events]), baseline).argmin(axis=1).tolist()
    counts: dict[WindowKey, Counter[int]] = defaultdict(Counter)
    for window in case.windows:
        size_ms = parse_duration(window)
        for event, cluster in zip(events, clusters, strict=True):
            start = format_timestamp(event.time_ms - event.time_ms % size_ms)
            counts[event.stream, window, start][cluster] += 1
    number = len(baseline.centroids.values)
    return {key: [counted[cluster] for cluster in range(number)] for key, counted in counts.items()}


def counted_against(case: Case) -> set[str]:
    """The baselines that any part of the state is about."""
    found = set()
    for (_, key), value in read_state(case).items():
        match key:
            case PaneKey() | BaselineKey():
                found.add(key.baseline)
            case ProgressKey():
                found |= {entry.baseline for lane in value.streams.values() for entry in lane.counting}
    return found


def test_each_window_is_compared_with_one_baseline_and_the_old_one_is_forgotten(
    tmp_path: Path, bootstrap: str
) -> None:
    settings = {"allowed_disorder": "5s", "allowed_lateness": "1m"}
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1m", "3m"),
        partitions=PARTITIONS,
        stream_settings=settings,
    )
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
    traffic = Traffic([old, new])

    with ExitStack() as running:
        replicas = {name: running.enter_context(case.serve(name)) for name in REPLICAS}
        for replica in replicas.values():
            replica.wait_until_ready()
        with publishing(case, traffic, rate=RATE), closing(traffic):
            replicas["a"].wait_for("windows against the old one", lambda: len(case.results()) > 3)
            case.stream_settings = settings | {"baseline": "new.safetensors"}
            case.write_config()
            for name in REPLICAS:
                replicas[name].stop()
                replicas[name] = running.enter_context(case.serve(name))
                replicas[name].wait_until_ready()
            replicas["a"].wait_for(
                "windows against the new one",
                lambda: any(record["baseline"] == new.identity for record in case.results()),
            )
        events = traffic.sent
        case.wait_for_counts(replicas["a"], case.truth(events))
        wait_for(
            "the old baseline to be forgotten",
            lambda: len(counted_against(case)) == 1,
        )
    (kept,) = counted_against(case)
    assert new.identity.removeprefix("sha256:").startswith(kept)

    truth = {baseline.identity: true_clusters(case, events, baseline) for baseline in (old, new)}
    final = case.final_results()
    for key, record in final.items():
        counts = [cluster["count"] for cluster in record["clusters"]]
        assert counts == truth[record["baseline"]][key]
    for window in case.windows:
        in_order = [record["baseline"] for key, record in sorted(final.items()) if key[1] == window]
        switch = in_order.index(new.identity)
        assert switch > 0
        assert in_order == [old.identity] * switch + [new.identity] * (len(in_order) - switch)
    ever: dict[WindowKey, set[str]] = defaultdict(set)
    for record in case.results():
        ever[record["stream"], record["window"], record["start"]].add(record["baseline"])
    assert {len(baselines) for baselines in ever.values()} == {1}
    assert case.dead_letters() == []
