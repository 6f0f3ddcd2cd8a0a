"""quix-streams on the same topic: the nearest centroid of each event, counted in memory or in windows.

A process in an environment of its own, since quix-streams pins an older client. Its arguments are BOOTSTRAP
TOPIC ENCODING EVENTS MATRICES GUARANTEE JOB GROUP; prints processor and wall time in seconds, as JSON.

The job `memory` is the least that the engine can do; its counts end with the process. The job `windows` keeps
counts by cluster in windows of an hour, in the engine's state with a changelog, and publishes closed windows.
"""

import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
from quixstreams import Application
from tests.bench.input_values import ENCODINGS
from tests.bench.processor_time import processor_s

HOUR_MS = 3_600_000


def main() -> None:
    bootstrap, topic, encoding, events, path, guarantee, job, group = sys.argv[1:]
    read = ENCODINGS[encoding].read
    with np.load(path) as matrices:
        centroids = matrices["centroids"]
    half_norms = np.square(centroids).sum(axis=1) / 2
    processed = 0
    # Start and end are left out: the time is from a tenth of the events to the last.
    first_event = int(events) // 10
    marks: list[tuple[float, float]] = []

    def assign(value: bytes) -> int:
        return int((centroids @ read(value) - half_norms).argmax())

    def add(counts: list[int], cluster: int) -> list[int]:
        counts[cluster] += 1
        return counts

    def first(cluster: int) -> list[int]:
        return add([0] * len(centroids), cluster)

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
            processing_guarantee=guarantee,
            commit_interval=1.0,
            state_dir=folder,
            loglevel="WARNING",
            on_message_processed=stop_after_last,
            consumer_extra_config={"fetch.queue.backoff.ms": 20, "queued.min.messages": 10_000},
        )
        source = application.topic(topic, value_deserializer="bytes", key_deserializer="bytes")
        stream = application.dataframe(source).apply(assign)
        if job == "windows":
            target = application.topic(f"{group}.windows", value_serializer="json")
            stream = stream.tumbling_window(HOUR_MS, grace_ms=HOUR_MS).reduce(add, first).final()
            stream.to_topic(target, key=lambda _: b"bench")
        else:
            counts = [0] * len(centroids)
            stream.update(lambda cluster: add(counts, cluster))
        application.run()
    (processor, wall), (processor_end, wall_end) = marks
    share = int(events) / (int(events) - first_event)
    spent = {"processor": (processor_end - processor) * share, "wall": (wall_end - wall) * share}
    sys.stdout.write(json.dumps(spent))


if __name__ == "__main__":
    main()
