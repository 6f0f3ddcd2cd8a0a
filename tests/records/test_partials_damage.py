"""Partials that are damaged or of another version are refused."""

import struct
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.partial import (
    StreamTime,
)
from driftgauge.errors import StateError
from driftgauge.records.partials import decode_part
from tests.builders.partial_records import (
    GOLDEN,
    RECORD,
    RECORDS,
    build_progress,
    encode_parts,
    rebuild_record,
    split_record,
)
from tests.examples import examples


@RECORD
@pytest.mark.parametrize("version", [3, 255])
def test_later_version_is_refused_with_remedy(record, version):
    with pytest.raises(StateError) as caught:
        decode_part(rebuild_record(record, split_record(record), version))
    assert str(caught.value) == (
        f"a record of the partials has format version {version}, and this driftgauge reads version 2: a "
        "later driftgauge wrote it; update this replica"
    )


def test_unknown_kind_is_refused_with_remedy():
    with pytest.raises(StateError) as caught:
        decode_part(rebuild_record(RECORDS[0], split_record(RECORDS[0]), head=struct.pack("<BII", 3, 0, 2)))
    assert str(caught.value) == (
        "a record of the partials is of kind 3: a later driftgauge wrote it; update this replica"
    )


@RECORD
def test_damaged_byte_is_refused(record):
    for at in range(len(record)):
        with pytest.raises(StateError):
            decode_part(record[:at] + bytes([record[at] ^ 0x41]) + record[at + 1 :])


@RECORD
def test_truncated_or_extended_record_is_malformed(record):
    for cut in range(len(record)):
        with pytest.raises(StateError, match=r"^a record of the partials is malformed "):
            decode_part(record[:cut])
    with pytest.raises(StateError, match="the checksum differs"):
        decode_part(record + b"\0")


@pytest.mark.parametrize(("index", "parts"), [(0, 0), (1, 1), (1, 2)])
def test_deltas_as_last_part_are_malformed(index, parts):
    with pytest.raises(StateError, match="malformed"):
        decode_part(
            rebuild_record(RECORDS[0], split_record(RECORDS[0]), head=struct.pack("<BII", 1, index, parts))
        )


@RECORD
def test_truncated_section_is_malformed(record):
    content = rebuild_record(record, [*split_record(record), b"later"])[5:-1]
    with pytest.raises(StateError, match="a section is cut short"):
        decode_part(struct.pack("<BI", 2, zlib.crc32(content)) + content)


def number(value, size):
    return value.to_bytes(size, "little", signed=True)


@pytest.mark.parametrize(
    ("part", "section", "at", "numbers"),
    [
        ("deltas", 1, 0, number(1, 4)),  # there is one stream
        ("deltas", 1, 0, number(-1, 4)),
        ("deltas", 1, 8, number(1, 4)),  # one scheme
        ("deltas", 1, 16, number(2, 4)),  # two segments
        ("deltas", 1, 24, number(1, 4)),  # one topic
        ("deltas", 1, 32, number(-1, 4)),  # a partition
        ("deltas", 2, 16, number(-1, 8)),  # events
        ("deltas", 2, 32, number(-1, 8)),  # an offset
        ("progress", 1, 0, number(1, 8)),  # one topic
        ("progress", 1, 0, number(-1, 8)),
        ("progress", 1, 8, number(2**31, 8)),  # a partition
        ("progress", 1, 16, number(0, 8)),  # one time
        ("progress", 1, 16, number(2, 8)),
        ("progress", 1, 24, number(-1, 8)),  # an offset
        ("progress", 1, 40, number(2, 8)),  # a truth value
        ("progress", 1, 48, number(-1, 8)),  # records lost
        ("progress", 1, 56, number(-1, 8)),  # offsets skipped
        ("progress", 2, 0, number(1, 8)),  # one stream
        ("progress", 2, 0, number(-1, 8)),
    ],
)
def test_number_out_of_range_is_malformed(part, section, at, numbers):
    record = bytes.fromhex(GOLDEN[part])
    pieces = split_record(record)
    before = pieces[section]
    pieces[section] = before[:at] + numbers + before[at + len(numbers) :]
    assert len(pieces[section]) == len(before)
    with pytest.raises(StateError, match="a record of the partials is malformed"):
        decode_part(rebuild_record(record, pieces))


@RECORD
def test_section_of_wrong_length_is_malformed(record):
    pieces = split_record(record)
    for section in range(1, len(pieces)):
        for changed in (pieces[section][:-4], pieces[section] + bytes(4), b""):
            others = [*pieces[:section], changed, *pieces[section + 1 :]]
            with pytest.raises(StateError, match="a record of the partials is malformed"):
                decode_part(rebuild_record(record, others))
        with pytest.raises(StateError, match="a section is missing"):
            decode_part(rebuild_record(record, pieces[:section]))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("deltas", {"producer": None}),
        ("deltas", {"epoch": -1}),
        ("deltas", {"shards": 0}),
        ("deltas", {"commit": 1.5}),
        ("deltas", {"streams": []}),
        ("deltas", {"streams": ["a/b"]}),
        ("deltas", {"schemes": [{}]}),
        ("deltas", {"tally_bytes": 2}),
        ("deltas", {"tally_bytes": 8}),
        ("deltas", {"segments": [None]}),
        ("deltas", {"examples": [[1, 0, 0, []]]}),
        ("deltas", {"examples": [[0, 1, 0, []]]}),
        ("progress", {"topics": []}),
        ("progress", {"streams": []}),
    ],
)
def test_header_with_wrong_field_is_malformed(part, change):
    record = bytes.fromhex(GOLDEN[part])
    header, *sections = split_record(record)
    text = orjson.dumps(orjson.loads(header) | change)
    with pytest.raises(StateError, match="a record of the partials is malformed"):
        decode_part(rebuild_record(record, [text, *sections]))


def test_duplicate_stream_in_partition_is_malformed():
    streams = {"a": StreamTime(1, 2, 3), "b": StreamTime(4, 5, 6)}
    (record,) = encode_parts((), (), [build_progress(streams=streams)])
    header, numbers, times = split_record(record)
    twice = bytes(8) + bytes(8) + times[16:]
    with pytest.raises(StateError, match="a stream occurs twice in a partition"):
        decode_part(rebuild_record(record, [header, numbers, twice]))


def test_message_quotes_no_value():
    header, *sections = split_record(RECORDS[0])
    changed = header.replace(b"resnet18-fc1", b"secret stream")
    with pytest.raises(StateError) as caught:
        decode_part(rebuild_record(RECORDS[0], [changed, *sections]))
    assert "streams.0" in str(caught.value)
    assert "secret" not in str(caught.value)


@settings(max_examples=examples(400))
@given(st.sampled_from(RECORDS), st.data())
def test_random_content_decodes_or_raises_state_error(record, data):
    """The checksum matches, so the checks behind it must refuse what is wrong."""
    content = bytearray(record[5:])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(len(content) - 40, len(content)))])
    try:
        decode_part(struct.pack("<BI", 2, zlib.crc32(content)) + content)
    except StateError:
        return
