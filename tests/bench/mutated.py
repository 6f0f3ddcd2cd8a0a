"""A million mutated records over all encodings: `python -m tests.bench.mutated`, about a minute.

Each record is a valid one that was cut, flipped, overwritten, or had pieces inserted or doubled. Checked are
sums (each record is accepted, filtered or refused, and only one of these), time (no batch of 1,000 takes
longer than a second) and memory (printed by encoding; it stays flat). The tests in tests/events compare the
readers of mapped fields and of whole values record by record.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.events.golden_encodings import FOLDER, NOON_MS, STREAM, golden_inputs
from tests.events.mapped import CONTRACTS
from tests.events.test_golden_encodings import CONTRACT, Registry
from tests.events.test_mapped_records import VALID_RECORDS
from tests.output import say

from driftgauge.config.inputs import InputSettings
from driftgauge.events.decoder import Decoder
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.schemas import PAYLOAD

RECORDS = 1_000_000
BATCH = 1_000
LONGEST_S = 1.0
TOPIC = "mutated"
NATIVE = (
    f'{{"stream":"{STREAM}","timestamp":{NOON_MS},"embedding":[0.5,-1.25,3,0.1],"event_id":"e"}}'.encode()
)
PIECES = [
    *(
        b"NaN",
        b"Infinity",
        b"null",
        b"true",
        b"1e400",
        b"-1",
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b",",
        b'"',
        b"\\",
    ),
    *(b"\xff", b"\0", b"\xff\xff\xff\xff\x0f", b"1762128000000000000000", b'"embedding":[1],', b'"v":[1],'),
]


@dataclass(frozen=True)
class Case:
    """A valid record, the decoder of its topic, and the first byte that may be mutated."""

    valid: StoredRecord
    decoder: Decoder
    from_byte: int


def make_cases() -> dict[str, Case]:
    """Return a case for each encoding."""
    cases = {}
    contracts = [*CONTRACTS, CONTRACT]

    def add(name: str, valid: StoredRecord, settings: InputSettings | None) -> None:
        inputs: Mapping[str, InputSettings] = {} if settings is None else {TOPIC: settings}
        readers = build_readers(inputs, Registry())
        decoder = Decoder(contracts, lead_ms=60_000, readers=readers)
        # The id of a schema stays, or nearly every record would only name another.
        cases[name] = Case(valid, decoder, PAYLOAD if settings is not None and settings.needs_registry else 0)

    add("native JSON", StoredRecord(NATIVE), None)
    for name, (mapping, record, _) in VALID_RECORDS.items():
        add(name, record, InputSettings.model_validate(mapping))
    for name in ("avro", "protobuf", "inference", "inference-raw"):
        settings = golden_inputs()[name.removesuffix("-raw")]
        add(name, StoredRecord((FOLDER / f"{name}.bin").read_bytes()), settings)
    return cases


def mutate(valid: bytes, random: np.random.Generator, *, from_byte: int) -> bytes:
    """Return bytes near some bytes; those before `from_byte` stay."""
    raw = bytearray(valid)
    for _ in range(int(random.integers(1, 4))):
        offset = int(random.integers(from_byte, max(len(raw), from_byte) + 1))
        match int(random.integers(6)):
            case 0:
                del raw[offset:]
            case 1 if offset < len(raw):
                raw[offset] ^= 1 << int(random.integers(8))
            case 2:
                raw[offset:offset] = PIECES[int(random.integers(len(PIECES)))]
            case 3:
                raw[offset : offset + int(random.integers(1, 9))] = PIECES[int(random.integers(len(PIECES)))]
            case 4:
                raw[offset:offset] = bytes(raw[max(from_byte, offset - int(random.integers(1, 41))) : offset])
            case _:
                raw[offset:offset] = random.bytes(int(random.integers(1, 4)))
    return bytes(raw)


def run(name: str, case: Case, records: int, random: np.random.Generator) -> None:
    """Decode mutated records of a case; exit with a message where a promise is broken."""
    outcomes: Counter[str] = Counter()
    value = case.valid.value() or b""
    longest_s = spent_s = 0.0
    for first in range(0, records, BATCH):
        raw: list[Any] = [
            StoredRecord(
                mutate(value, random, from_byte=case.from_byte),
                TOPIC,
                0,
                first + row,
                stored_key=case.valid.key(),
                stored_headers=case.valid.headers(),
                stored_ms=NOON_MS,
            )
            for row in range(BATCH)
        ]
        rows = np.arange(BATCH, dtype=np.int64)
        batch = Records(raw, np.zeros(BATCH, np.int32), rows, np.full(BATCH, NOON_MS))
        start = time.thread_time()
        decoded = case.decoder.decode(batch)
        took_s = time.thread_time() - start
        longest_s, spent_s = max(longest_s, took_s), spent_s + took_s
        refused = [rejection.row for rejection in decoded.rejections]
        counted = {row for each in decoded.batches for row in each.row.tolist()}
        sound = len(set(refused)) == len(refused) and not decoded.pending
        sound &= counted.isdisjoint(refused) and set(decoded.filtered).isdisjoint([*refused, *counted])
        if not sound or not all(np.isfinite(each.vectors).all() for each in decoded.batches):
            sys.exit(
                f"{name}: a record of the batch from {first} was judged twice, or a number is not finite"
            )
        if took_s > LONGEST_S:
            sys.exit(f"{name}: the batch from {first} took {took_s:.1f} s")
        outcomes["accepted"] += BATCH - len(refused) - len(decoded.filtered)
        outcomes["filtered"] += len(decoded.filtered)
        outcomes.update(rejection.reason.value for rejection in decoded.rejections)
    shares = ", ".join(f"{outcome} {number / records:.1%}" for outcome, number in outcomes.most_common())
    say(
        f"{name:14} {records:9,} records, {spent_s / records * 1e6:5.1f} us each, the slowest batch "
        f"{longest_s / BATCH * 1e6:5.1f}; {resident_mib():.0f} MiB; {shares}"
    )


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4_096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=RECORDS, help="of all encodings together")
    records = parser.parse_args().records
    cases = make_cases()
    each = -(-records // len(cases) // BATCH) * BATCH
    for name, case in cases.items():
        run(name, case, each, np.random.default_rng(len(name)))


if __name__ == "__main__":
    main()
