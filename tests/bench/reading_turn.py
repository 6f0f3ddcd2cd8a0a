"""The process of `tests.bench.reading` that reads with the service of one checkout."""

import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric

# Where both sides have it: an earlier commit may define it in another module.
from driftgauge.events.decoder import BaselineContract, Decoder  # type: ignore[attr-defined]
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.schemas import Schema

TOPIC = "t"
REPEATS = 5


class Schemas:
    """A source of one schema."""

    def __init__(self, text: str) -> None:
        self._text = text

    def find(self, schema_id: int, kind: str) -> Schema:
        return Schema(self._text)


class Case:
    """Reads the records of a case."""

    def __init__(self, case: dict[str, Any]) -> None:
        mapping, self._values, dimension = case["mapping"], case["values"], case["dimension"]
        inputs = {} if mapping is None else {TOPIC: InputSettings.model_validate(mapping)}
        readers = build_readers(inputs, Schemas(case["schema"]))
        contract = BaselineContract("bench", "first", dimension, None, DistanceMetric.EUCLIDEAN)
        self._decoder = Decoder([contract], lead_ms=10**12, readers=readers)
        raw = [
            StoredRecord(value, TOPIC, 0, row, stored_headers=case["headers"], stored_ms=case["ms"] + row)
            for row, value in enumerate(case["values"])
        ]
        rows = np.arange(len(raw))
        self._records = Records(raw, np.zeros(len(raw), np.int32), rows, np.full(len(raw), case["ms"]))

    def measure(self) -> float:
        """Return the least processor time of reading an event, in us."""
        spent = []
        for _ in range(REPEATS):
            start = time.thread_time()
            decoded = self._decoder.decode(self._records)
            spent.append(time.thread_time() - start)
        assert not decoded.rejections, decoded.rejections[0]
        return min(spent) / sum(map(len, decoded.batches)) * 1e6


def answer() -> None:
    """Answer each name of a case on standard input with its processor time."""
    cases = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - our own file
    made = {name: Case(case) for name, case in cases.items()}
    for line in sys.stdin:
        sys.stdout.write(f"{made[line.strip()].measure()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    answer()
