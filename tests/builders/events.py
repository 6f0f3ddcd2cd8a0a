"""Builders of events and their records, and the golden events of schemas/ with their contracts."""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import ArrayLike

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.records import Records, StoredRecord
from tests.builders.references import CLUSTERS

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


def name(path: Path) -> str:
    return path.stem


def reason(path: Path) -> str:
    return path.stem.split("--")[0]


def decode(*values: bytes | None, contracts: Iterable[BaselineContract] = CONTRACTS) -> Decoded:
    return Decoder(contracts, lead_ms=0).decode(build_records(values))


def build_records(values: Sequence[bytes | None], credible_ms: ArrayLike = LATEST_MS) -> Records:
    """Return records whose partition and offset follow from the row: row % 3 and 100 + row."""
    rows = np.arange(len(values))
    return Records(
        raw=[StoredRecord(value) for value in values],
        partition=(rows % 3).astype(np.int32),
        offset=rows.astype(np.int64) + 100,
        credible_ms=np.broadcast_to(np.asarray(credible_ms, np.int64), len(values)),
    )


def build_event(time_ms: float, cluster: int = 0, *, stream: str = "images", **fields: Any) -> bytes:
    """Return an event as a line of JSON, its vector near its cluster's centroid."""
    vector = [0.1] * CLUSTERS
    vector[cluster] = 0.9
    return orjson.dumps({"stream": stream, "timestamp": int(time_ms), "embedding": vector, **fields})


def write_events(path: Path, lines: Iterable[bytes]) -> Path:
    """Write lines of JSON, compressed where the name ends in .gz."""
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
