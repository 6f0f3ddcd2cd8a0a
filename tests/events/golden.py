"""The golden events and the streams that they are checked against (see schemas/README.md)."""

from pathlib import Path

import numpy as np

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rows import BaselineContract

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALID = sorted((SCHEMAS / "golden" / "valid").glob("*.json"))
INVALID = sorted((SCHEMAS / "golden" / "invalid").glob("*.json"))
WINDOW_RESULTS = sorted((SCHEMAS / "golden" / "window-results").glob("*.json"))

LATEST_MS = 1_762_214_400_000  # 2025-11-04T00:00:00Z
CONTRACTS = (
    BaselineContract("resnet18-fc1", "images", 4, "2025-10", DistanceMetric.EUCLIDEAN),
    BaselineContract("clip-text", "texts", 2, None, DistanceMetric.COSINE),
)
SCHEDULES = {contract.stream: (contract,) for contract in CONTRACTS}


def name(path):
    return path.stem


def reason(path):
    return path.stem.split("--")[0]


def decode(*values, contracts=CONTRACTS):
    return Decoder(contracts, lead_ms=0).decode(records(values))


def records(values, credible_ms=LATEST_MS):
    """Return records whose partition and offset follow from the row: row % 3 and 100 + row."""
    rows = np.arange(len(values))
    return Records(
        raw=[StoredRecord(value) for value in values],
        partition=(rows % 3).astype(np.int32),
        offset=rows.astype(np.int64) + 100,
        credible_ms=np.broadcast_to(np.asarray(credible_ms, np.int64), len(values)),
    )
