"""quix-streams on the same topic, exactly once.

A process in an environment of its own, since quix-streams pins an older client. Its arguments are BOOTSTRAP
TOPIC ENCODING EVENTS MATRICES GROUP; prints processor and wall time in seconds, as JSON.

It counts what the service counts, without hashes and examples: by cluster the events and those beyond its
radius, the sums of the coordinates and of the two spreads; in windows of an hour, in the engine's state with
a changelog. Closed windows are published.
"""

import json
import sys
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from quixstreams import Application
from tests.bench.input_values import ENCODINGS
from tests.bench.usage import processor_s

HOUR_MS = 3_600_000


class Matrices(NamedTuple):
    """What a baseline has of k clusters, d dimensions and r components, all float32.

    Attributes:
        centroids: (k, d).
        half_norms: (k,), half of their squared lengths.
        squared_radii: (k,), the squared radii of the clusters.
        mean: (d,).
        components: (r, d).
        variances: (r,), along the components.
    """

    centroids: NDArray[np.float32]
    half_norms: NDArray[np.float32]
    squared_radii: NDArray[np.float32]
    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    variances: NDArray[np.float32]

    def measure(self, vector: NDArray[np.float32]) -> list[float]:
        """Return cluster, 1 beyond its radius, coordinates, and spreads along and beside the components."""
        closeness = self.centroids @ vector - self.half_norms
        cluster = int(closeness.argmax())
        squared_distance = float(vector @ vector - 2 * closeness[cluster])
        centred = vector - self.mean
        coordinates = self.components @ centred
        squares = coordinates * coordinates
        spreads = float((squares / self.variances).mean()), float(centred @ centred - squares.sum())
        is_outlier = int(squared_distance > self.squared_radii[cluster])
        return [cluster, is_outlier, *coordinates.tolist(), *spreads]


def main() -> None:
    bootstrap, topic, encoding, events, path, group = sys.argv[1:]
    read = ENCODINGS[encoding].read
    with np.load(path) as arrays:
        matrices = Matrices(*(arrays[name] for name in Matrices._fields))
    clusters = len(matrices.centroids)
    processed = 0
    # Start and end are left out: the time is from a tenth of the events to the last.
    first_event = int(events) // 10
    marks: list[tuple[float, float]] = []

    def measure(value: bytes) -> list[float]:
        return matrices.measure(read(value))

    def add(sums: list[list[float]], event: list[float]) -> list[list[float]]:
        (counts, outliers, totals), (cluster, is_outlier, *measures) = sums, event
        counts[int(cluster)] += 1
        outliers[int(cluster)] += is_outlier
        return [counts, outliers, [total + measure for total, measure in zip(totals, measures, strict=True)]]

    def add_first(event: list[float]) -> list[list[float]]:
        return add([[0] * clusters, [0] * clusters, [0.0] * (len(event) - 2)], event)

    def stop_after_last(*_: object) -> None:
        # `run(count=)` counts outputs, and windows have few.
        nonlocal processed
        processed += 1
        if processed in (first_event, int(events)):
            marks.append((processor_s(), time.monotonic()))
        if processed == int(events):
            application.stop()

    with tempfile.TemporaryDirectory() as folder:
        application: Any = Application(
            broker_address=bootstrap,
            consumer_group=group,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=1.0,
            state_dir=folder,
            loglevel="WARNING",
            on_message_processed=stop_after_last,
            consumer_extra_config={"fetch.queue.backoff.ms": 20, "queued.min.messages": 10_000},
        )
        source = application.topic(topic, value_deserializer="bytes", key_deserializer="bytes")
        target = application.topic(f"{group}.windows", value_serializer="json")
        windows = application.dataframe(source).apply(measure).tumbling_window(HOUR_MS, grace_ms=HOUR_MS)
        windows.reduce(add, add_first).final().to_topic(target, key=lambda _: b"bench")
        application.run()
    (processor, wall), (processor_end, wall_end) = marks
    share = int(events) / (int(events) - first_event)
    spent = {"processor": (processor_end - processor) * share, "wall": (wall_end - wall) * share}
    sys.stdout.write(json.dumps(spent))


if __name__ == "__main__":
    main()
