"""CPU time of decoding an event: `python tests/bench/decoder.py`, one process, median of repeats."""

import base64
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import orjson
from threadpoolctl import threadpool_limits

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rows import BaselineContract

EVENTS = 1_000  # a typical poll
REPEATS = 15
NOON_MS = 1_762_171_200_000


def events(vectors: np.ndarray, write: Callable[[np.ndarray], dict], **fields: object) -> list[bytes]:
    return [
        orjson.dumps(
            {"stream": "resnet18-fc1", "timestamp": NOON_MS + i, **write(vector), **fields},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for i, vector in enumerate(vectors)
    ]


def as_array(vector: np.ndarray) -> dict:
    return {"embedding": vector}


def as_base64(vector: np.ndarray) -> dict:
    return {"embedding_b64": base64.b64encode(vector.tobytes()).decode()}


def measure(title: str, decoder: Decoder, values: list[bytes], *, accepted: bool) -> None:
    rows = len(values)
    records = Records(
        raw=[StoredRecord(value) for value in values],
        partition=np.zeros(rows, np.int32),
        offset=np.arange(rows, dtype=np.int64),
        credible_ms=np.full(rows, NOON_MS + rows, np.int64),
    )
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        decoded = decoder.decode(records)
        seconds.append(time.perf_counter() - start)
    if sum(map(len, decoded.batches)) != (rows if accepted else 0):
        sys.exit(f"{title}: the wrong events were accepted")
    median = statistics.median(seconds) / rows
    sys.stdout.write(f"{title:44} {median * 1e6:7.2f} us/event {1 / median:10,.0f} events/s\n")


def main() -> None:
    generator = np.random.default_rng(0)
    for dimension in (128, 512):
        vectors = generator.standard_normal((EVENTS, dimension), np.float32)
        contract = BaselineContract("resnet18-fc1", "first", dimension, "2025-10", DistanceMetric.EUCLIDEAN)
        decoder = Decoder([contract], lead_ms=0)
        arrays, texts = events(vectors, as_array), events(vectors, as_base64)
        rich = events(
            vectors,
            as_base64,
            model_version="2025-10",
            event_id="0193f3a2-7c1e",
            segments={"country": "de", "device": "phone"},
        )
        dated = events(vectors, as_base64, timestamp="2025-11-03T12:00:00.123+01:00")
        other = events(vectors, as_array, stream="unheard-of")
        longer = events(np.hstack([vectors, vectors[:, :1]]), as_array)
        nulls = [value[:-2] + b",null]}" for value in arrays]
        cut = [value[:-1] for value in arrays]
        sys.stdout.write(f"{dimension} numbers\n")
        measure("  JSON array", decoder, arrays, accepted=True)
        measure("  base64", decoder, texts, accepted=True)
        measure("  base64, every optional field", decoder, rich, accepted=True)
        measure("  base64, RFC 3339 timestamp", decoder, dated, accepted=True)
        measure("  all rejected: unknown stream, JSON array", decoder, other, accepted=False)
        measure("  all rejected: wrong dimension, JSON array", decoder, longer, accepted=False)
        measure("  all rejected: null in the array", decoder, nulls, accepted=False)
        measure("  all rejected: cut short", decoder, cut, accepted=False)


if __name__ == "__main__":
    # As in the service.
    with threadpool_limits(limits=1):
        main()
