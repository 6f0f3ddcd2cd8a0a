"""A million mutated records over all encodings: `python -m tests.bench.mutated`, about two minutes.

Each record is a valid one that was cut, flipped, overwritten, or had pieces inserted or doubled. It checks
sums (each record is accepted, filtered or refused, and only one of these), agreement (each record alone, of
which the whole value is decoded, has the same events bit by bit, and is refused for the same reasons in the
same words) and memory (it grows by no more than 64 MiB).
"""

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from typing import Any
from uuid import UUID

import numpy as np
from tests.bench.workload import resident_mib
from tests.events.both_ways import exactly
from tests.events.golden_encodings import FOLDER, NOON_MS, STREAM, VECTOR, golden_inputs
from tests.events.mapped import CONTRACTS, value
from tests.events.schema_records import (
    AVRO,
    ID,
    Embedded,
    avro,
    avro_schema,
    framed,
    protobuf_file,
    serialized,
)
from tests.events.test_golden import CONTRACT, Registry
from tests.events.test_mapped import VALID_RECORDS
from tests.options import parse_options
from tests.output import say

from driftgauge.config.inputs import InputSettings
from driftgauge.config.settings import LARGEST_RECORD
from driftgauge.events.columns import Columns
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.mapped_readers import build_reader
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord, Records, StoredRecord
from driftgauge.events.schemas import PAYLOAD, Schema

BATCH = 1_000
TOPIC = "mutated"
OWN = f'{{"stream":"{STREAM}","timestamp":{NOON_MS},"event_id":"e","segments":{{"a":"b"}},'
IN_BASE64 = base64.b64encode(VECTOR.tobytes()).decode()
PIECES = [
    *b'NaN Infinity null true ,true 1e400 -1 [ ] [[ { } , " \\ \\" \\u0074rue = ===='.split(),
    *(b"\xff", b"\0", b"\xff\xff\xff\xff\x0f", b"1762128000000000000000", b'"embedding":[1],', b'"v":[1],'),
    # Protobuf's field 4, a float that is not packed.
    b"\x25\0\0\x80?",
]


class AllSchemas(Registry):
    """The golden records' schemas, and those of records with lists of numbers."""

    def find(self, schema_id: int, kind: str) -> Schema:
        if schema_id != ID:
            return super().find(schema_id, kind)
        return avro_schema(AVRO) if kind == "AVRO" else Schema(serialized(protobuf_file()))


class Alone(Reader):
    """Reads each record alone, and decodes its whole value."""

    def __init__(self, reader: Reader) -> None:
        vars(self).update(vars(exactly(reader)))

    def read(
        self, records: Sequence[RawRecord], first: int, columns: Columns, largest_bytes: int = LARGEST_RECORD
    ) -> None:
        """Add what becomes of records to columns, see `Reader`."""
        for row, record in enumerate(records, first):
            super().read([record], row, columns, largest_bytes)


@dataclass(frozen=True)
class Case:
    """A valid record, its mapping (None: the own contract), and the first byte that may be mutated."""

    valid: StoredRecord
    settings: InputSettings | None
    from_byte: int

    def decoders(self) -> tuple[Decoder, Decoder]:
        """Return the service's decoder, and one that reads each record alone."""
        inputs = {} if self.settings is None else {TOPIC: self.settings}
        reader = build_reader(TOPIC, inputs, AllSchemas())
        decoder = partial(Decoder, [*CONTRACTS, CONTRACT], lead_ms=60_000)
        return decoder(readers={TOPIC: reader}), decoder(readers={TOPIC: Alone(reader)})


def make_cases() -> dict[str, Case]:
    """Return a case for each encoding, and for each form of a vector in it."""
    structured = {"specversion": "1.0", "type": "response", "time": "2025-11-03T12:00:00Z", "id": "e"}
    content_type = [("content-type", b"application/cloudevents+json")]
    at = datetime.fromtimestamp(NOON_MS / 1_000, UTC)
    message = Embedded(stream=STREAM, numbers=VECTOR, segments={"a": "b"}, note="n", count=5)
    message.at.FromDatetime(at)
    in_avro = {"stream": STREAM, "at": at, "id": UUID(int=1), "vector": b"v", "numbers": VECTOR.tolist()}
    numbers = {"stream": "stream", "timestamp": "at", "embedding": "numbers", "segments": {"a": "segments.a"}}
    found: dict[str, tuple[Any, StoredRecord]] = {
        "own numbers": (None, StoredRecord(f'{OWN}"embedding":[0.5,-1.25,3,0.1]}}'.encode())),
        "own base64": (None, StoredRecord(f'{OWN}"embedding_b64":"{IN_BASE64}"}}'.encode())),
        **{name: (mapping, record) for name, (mapping, record, _) in VALID_RECORDS.items()},
        "json flat": (
            {"stream": "s", "timestamp": "t", "embedding": "v", "model_version": "m"},
            StoredRecord(value(s="images", t=NOON_MS, v=VECTOR.tolist(), m="v1")),
        ),
        "json items": (
            {
                "stream": {"constant": "images"},
                "timestamp": "created",
                "event_id": "id",
                "embedding": "data[*].embedding",
                "segments": {"kind": "data[*].kind"},
            },
            StoredRecord(
                value(
                    created=NOON_MS,
                    id="e",
                    data=[{"kind": "a", "embedding": VECTOR.tolist()}, {"embedding": VECTOR.tolist()}],
                )
            ),
        ),
        "json lists": (
            {"stream": {"constant": "images"}, "timestamp": "t", "embedding": "data[*]"},
            StoredRecord(value(t=NOON_MS, data=[VECTOR.tolist()] * 2)),
        ),
        "json list of lists": (
            {
                "stream": {"constant": "images"},
                "timestamp": {"record": "timestamp"},
                "embedding": "[*]",
            },
            StoredRecord(json.dumps([VECTOR.tolist()] * 2).encode()),
        ),
        "structured": (
            {"encoding": "cloudevents", "stream": {"constant": "images"}, "embedding": "data.v"},
            StoredRecord(
                json.dumps({**structured, "data": {"v": VECTOR.tolist()}}).encode(),
                stored_headers=content_type,
            ),
        ),
        "avro numbers": (
            {**numbers, "encoding": "avro", "event_id": "id"},
            StoredRecord(framed(avro({**in_avro, "segments": {"a": "b"}}))),
        ),
        "packed numbers": (
            {**numbers, "encoding": "protobuf", "event_id": "count"},
            StoredRecord(framed(b"\0" + message.SerializeToString())),
        ),
    }
    for name in ("avro", "protobuf", "inference", "inference-raw"):
        settings = golden_inputs()[name.removesuffix("-raw")]
        found[name] = settings, StoredRecord((FOLDER / f"{name}.bin").read_bytes())
    cases = {}
    for name, (mapping, record) in found.items():
        settings = None if mapping is None else InputSettings.model_validate(mapping)
        # The id of a schema stays, or nearly every record would only name another.
        cases[name] = Case(record, settings, PAYLOAD if settings and settings.traits.needs_registry else 0)
    return cases


def verdicts(decoded: Decoded) -> Iterator[object]:
    """Yield what became of the records of a batch: events with their bits, reasons, what was filtered."""
    for batch in decoded.batches:
        yield (
            batch.stream,
            batch.baseline,
            batch.row.tolist(),
            batch.time_ms.tolist(),
            batch.vectors.tobytes(),
        )
        yield [batch.event_ids[row] for row in range(len(batch))], list(batch.segments)
    for rejection in decoded.rejections:
        yield rejection.row, rejection.reason, rejection.detail
    yield decoded.filtered, decoded.pending


def mutate(valid: bytes, random: np.random.Generator, *, from_byte: int) -> bytes:
    """Return bytes near some bytes; those before `from_byte` stay."""
    raw = bytearray(valid)
    for _ in range(int(random.integers(1, 3))):
        offset = int(random.integers(from_byte, max(len(raw), from_byte) + 1))
        # Of a flipped record most is still valid, which tests more than what no reader can decode.
        match int(random.integers(9)):
            case 0:
                del raw[offset:]
            case 1:
                raw[offset:offset] = PIECES[int(random.integers(len(PIECES)))]
            case 2:
                raw[offset : offset + int(random.integers(1, 9))] = PIECES[int(random.integers(len(PIECES)))]
            case 3:
                raw[offset:offset] = bytes(raw[max(from_byte, offset - int(random.integers(1, 41))) : offset])
            case 4:
                raw[offset:offset] = random.bytes(int(random.integers(1, 4)))
            case _ if offset < len(raw):
                raw[offset] ^= 1 << int(random.integers(8))
    return bytes(raw)


def run(name: str, case: Case, records: int, random: np.random.Generator) -> None:
    """Decode mutated records of a case; exit with a message if a promise is broken."""
    outcomes: Counter[str] = Counter()
    value = case.valid.value() or b""
    decoder, exact = case.decoders()
    first_mib = resident_mib()
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
        rows = np.arange(first, first + BATCH)
        batch = Records(raw, np.zeros(BATCH, np.int32), rows, np.full(BATCH, NOON_MS))
        decoded = decoder.decode(batch)
        refused = [rejection.row for rejection in decoded.rejections]
        counted = {row for each in decoded.batches for row in each.row.tolist()}
        sound = len(set(refused)) == len(refused) and not decoded.pending
        sound &= counted.isdisjoint(refused) and set(decoded.filtered).isdisjoint([*refused, *counted])
        if not sound or not all(np.isfinite(each.vectors).all() for each in decoded.batches):
            sys.exit(f"{name}: in the batch from {first} a record has two outcomes, or an infinite number")
        for one, other in zip_longest(verdicts(decoded), verdicts(exact.decode(batch))):
            if one != other:
                sys.exit(f"{name}: the batch from {first} is {one} by the service, {other} one by one")
        outcomes.update(accepted=BATCH - len(refused) - len(decoded.filtered), filtered=len(decoded.filtered))
        outcomes.update(rejection.reason.value for rejection in decoded.rejections)
    if resident_mib() > first_mib + 64:
        sys.exit(f"{name}: memory grew from {first_mib:.0f} to {resident_mib():.0f} MiB")
    shares = ", ".join(f"{outcome} {number / records:.1%}" for outcome, number in outcomes.most_common())
    say(f"{name:18} {records:9,} records; {resident_mib():.0f} MiB; {shares}")


def main() -> None:
    records = parse_options(__doc__, records=1_000_000).records
    cases = make_cases()
    each = -(-records // len(cases) // BATCH) * BATCH
    for name, case in cases.items():
        run(name, case, each, np.random.default_rng(len(name)))


if __name__ == "__main__":
    main()
