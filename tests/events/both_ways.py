"""Records read by the fields of a mapping and as whole values, which must have the same outcomes."""

from contextlib import suppress
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.mapped import MappedReader
from driftgauge.events.needs import find_needs
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import RECORD_ID, default_id
from tests.events.schema_records import stored

_UNSURE = EventError(Reason.INVALID, "judged by the deserializer itself")
VECTOR = np.array([0.5, -1.25], "<f4").tobytes()
# No rightmost bit, all bits, the largest varint, text that is not ASCII, and text that is not UTF-8.
_PIECES = [b"\x80", b"\xff", b"\0", b"\x80\0", b"\xff" * 9 + b"\1", "é".encode(), b"\xed\xa0\x80"]


def outcome(reader, raw):
    """Return what becomes of a record: its reason, or its events, with their vectors as bits.

    None where it is filtered out.
    """
    record = stored(raw)
    try:
        found = reader.read(record)
    except EventError as error:
        return error.reason, error.stream, error.detail
    if found is None:
        return None
    return [
        (stream, time_ms, bits(number, vector), default_id(record) if own is RECORD_ID else own, *others)
        for stream, time_ms, vector, number, own, *others in ([found] if isinstance(found, tuple) else found)
    ]


def bits(number, vector):
    """Return the bits of a vector as float32; any NaN is the same, because all are refused."""
    numbers = number.to_float32(vector)
    return np.where(np.isnan(numbers), np.float32(np.nan), numbers).tobytes()


def read_both(mapping, build, raws):
    """Read records by the mapping's fields alone and as whole values; the outcomes must be the same.

    Args:
        mapping: The mapping.
        build: Returns the deserializer, given what the mapping reads.
        raws: The values of records.

    Returns:
        Of which of them the fields are certain.
    """
    settings = InputSettings.model_validate(mapping)
    deserializer = build(find_needs(settings))
    whole, fields = (MappedReader(settings, deserializer, read) for read in (None, deserializer.read_mapped))
    are_certain = []
    for raw in raws:
        assert outcome(fields, raw) == outcome(whole, raw)
        are_certain.append(False)
        with patch.object(type(deserializer), "__call__", side_effect=_UNSURE), suppress(EventError):
            deserializer.read_mapped(stored(raw))
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
