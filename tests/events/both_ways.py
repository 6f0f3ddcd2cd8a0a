"""Records read in batches, and each alone with its whole value decoded: they must have the same outcomes."""

from contextlib import suppress
from copy import copy
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.columns import RECORD_ID, Columns, default_id
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.fields import VectorField, compile_fields
from driftgauge.events.needs import find_needs
from driftgauge.events.reader import Reader
from driftgauge.events.rejection import EventError, Reason
from tests.events.mapped import to_rows
from tests.events.schema_records import stored

_UNSURE = EventError(Reason.INVALID, "judged by the deserializer itself")
VECTOR = np.array([0.5, -1.25], "<f4").tobytes()
# No rightmost bit, all bits, the largest varint, text that is not ASCII, and text that is not UTF-8.
_PIECES = [b"\x80", b"\xff", b"\0", b"\x80\0", b"\xff" * 9 + b"\1", "é".encode(), b"\xed\xa0\x80"]


def read_batch(reader, records):
    """Return what becomes of each record of a batch: its reason, or its events, with vectors as bits.

    None where it is filtered out.
    """
    columns = Columns()
    reader.read(records, 0, columns)
    assert columns.row == sorted(columns.row)
    outcomes = [[] for _ in records]
    for row, event in zip(columns.row, to_rows(columns), strict=True):
        outcomes[row].append(normalize(event, records[row]))
    for row, fault in columns.refused:
        assert outcomes[row] == []
        outcomes[row] = describe(fault)
    for row in columns.filtered:
        assert outcomes[row] == []
        outcomes[row] = None
    return outcomes


class Exact(Encoding):
    """An encoding that decodes all values as a whole."""

    def __init__(self, encoding):
        self.decode = self.decode_mapped = encoding.decode
        self.attributes = encoding.attributes


def judge(reader, record):
    """Return as much of a record alone, of which the whole value is decoded."""
    return read_batch(exactly(reader), [record])[0]


def exactly(reader):
    """Return a reader that decodes all values as a whole."""
    exact = copy(reader)
    exact._encoding, exact._decode_mapped = Exact(reader._encoding), exact._decode
    return exact


def make_reader(settings, encoding):
    return Reader(settings, encoding, compile_fields(settings), [*map(VectorField, settings.vectors)])


def describe(fault):
    if not isinstance(fault, EventError):
        raise fault
    return fault.reason, fault.stream, fault.detail


def normalize(row, record):
    """Return an event with its vector as bits, and its id as text."""
    event_id = default_id(record) if row.event_id is RECORD_ID else row.event_id
    return row._replace(vector=bits(row.number, row.vector), number=None, event_id=event_id)


def bits(number, vector):
    """Return the bits of a vector as float32; any NaN is the same, because all are refused."""
    numbers = number.to_float32(vector)
    return np.where(np.isnan(numbers), np.float32(np.nan), numbers).tobytes()


def assert_alike(reader, *records):
    """Assert that each record of a batch has the outcome that it has alone; return the outcomes."""
    outcomes = [judge(reader, record) for record in records]
    assert read_batch(reader, records) == outcomes
    return outcomes


def read_alike(mapping, build, raws):
    """Read records, given as their values, as `read_both` does; return their outcomes."""
    settings = InputSettings.model_validate(mapping)
    return assert_alike(make_reader(settings, build(find_needs(settings))), *map(stored, raws))


def read_both(mapping, build, raws):
    """Read records in a batch and each alone; the outcomes must be the same.

    Args:
        mapping: The mapping.
        build: Returns the encoding, given what the mapping reads.
        raws: The values of records.

    Returns:
        Of which of them the fields are certain.
    """
    read_alike(mapping, build, raws)
    encoding = build(find_needs(InputSettings.model_validate(mapping)))
    are_certain = []
    for raw in raws:
        are_certain.append(False)
        with patch.object(type(encoding), "decode", side_effect=_UNSURE), suppress(EventError):
            encoding.decode_mapped(stored(raw))
            are_certain[-1] = True
    return are_certain


@st.composite
def near(draw, raw, start=0, pieces=_PIECES):
    """Draw bytes near some bytes, those before `start` unchanged, with pieces; most have the same length."""
    changed = bytearray(raw)
    for _ in range(draw(st.integers(1, 2))):
        offset = draw(st.integers(start, max(start, len(changed) - 1)))
        match draw(st.sampled_from(["flip", "flip", "set", "overwrite", "insert", "cut", "repeat"])):
            case "flip" if offset < len(changed):
                changed[offset] ^= 1 << draw(st.integers(0, 7))
            case "set" if offset < len(changed):
                changed[offset] = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]))
            case "overwrite":
                piece = draw(st.sampled_from(pieces))
                changed[offset : offset + len(piece)] = piece
            case "insert":
                changed[offset:offset] = draw(st.sampled_from(pieces))
            case "cut":
                del changed[offset:]
            case "repeat":
                changed[offset:offset] = changed[max(start, offset - draw(st.integers(1, 12))) : offset]
    return bytes(changed)


@st.composite
def sequences(draw, raws, start):
    """Draw records from a list in any order, and records near them."""
    count = draw(st.integers(2, 8))
    return [
        draw(st.sampled_from(raws).flatmap(lambda raw: st.just(raw) | near(raw, start))) for _ in range(count)
    ]
