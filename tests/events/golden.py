"""The golden events and the streams they are judged against (see schemas/README.md)."""

from pathlib import Path

import numpy as np

from driftgauge.core.counting.assignment import Metric
from driftgauge.events.decoder import Decoder, StreamContract
from driftgauge.events.reader import expect
from driftgauge.events.records import Records

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALID = sorted((SCHEMAS / "golden" / "valid").glob("*.json"))
INVALID = sorted((SCHEMAS / "golden" / "invalid").glob("*.json"))
WINDOW_RESULTS = sorted((SCHEMAS / "golden" / "window-results").glob("*.json"))

LATEST_MS = 1_762_214_400_000  # 2025-11-04T00:00:00Z
STREAMS = {
    "resnet18-fc1": StreamContract(4, "2025-10", Metric.EUCLIDEAN),
    "clip-text": StreamContract(2, None, Metric.COSINE),
}
EXPECTED = {name: expect(stream.dimension, stream.model_version) for name, stream in STREAMS.items()}


def name(path):
    return path.stem


def reason(path):
    return path.stem.split("--")[0]


def decode(*values, streams=STREAMS):
    return Decoder(streams).decode(records(values))


def records(values):
    """Return records whose partition and offset can be told from their row: row % 3 and 100 + row."""
    rows = np.arange(len(values))
    return Records(
        values=values,
        partition=(rows % 3).astype(np.int32),
        offset=rows.astype(np.int64) + 100,
        latest_ms=np.full(len(values), LATEST_MS, np.int64),
    )
