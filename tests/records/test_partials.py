"""The parts of a commit as records; `schemas/partial.v1.md` must show the same bytes."""

import struct
import zlib

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.partial import (
    CommitId,
    ExamplesDelta,
    PaneDelta,
    Partial,
    PartitionProgress,
    Progress,
    StreamTime,
)
from driftgauge.core.counting.scheme import CLUSTER_COUNTS, COORDINATE_SUMS, OUTLIERS, Scheme
from driftgauge.errors import StateError
from driftgauge.records.partials import decode_part, encode_commit
from tests.events.golden import SCHEMAS
from tests.events.strategies import EXAMPLES, LAST, PARTITIONS, SEGMENTS, STREAMS, TEXTS, TIMES
from tests.examples import examples
from tests.results import plain

OFFSETS = st.integers(0, LAST)
COMMITS = st.builds(CommitId, TEXTS, st.integers(0, 2**31), OFFSETS)
SCHEMES = st.builds(
    Scheme,
    st.from_regex("[0-9a-f]{16}", fullmatch=True),
    st.integers(1, LAST),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(st.tuples(TEXTS, st.integers(0, 9)), max_size=3).map(tuple),
)
PANES = SCHEMES.flatmap(
    lambda scheme: st.builds(
        PaneDelta,
        STREAMS,
        st.just(scheme),
        TIMES,
        st.none() | SEGMENTS,
        st.sampled_from([9, 2**31, LAST]).flatmap(
            lambda most: arrays.arrays(np.int64, scheme.length, elements=st.integers(-most, most))
        ),
        OFFSETS,
        st.tuples(PARTITIONS, OFFSETS),
    )
)
EXAMPLES_OF_PANES = st.builds(ExamplesDelta, STREAMS, SCHEMES, TIMES, EXAMPLES)
PROGRESS = st.builds(
    PartitionProgress,
    PARTITIONS,
    st.sampled_from(["", "ab" * 16]),
    st.integers(0, 2**31 - 1),
    OFFSETS,
    OFFSETS,
    st.booleans(),
    OFFSETS,
    TIMES,
    st.none() | TIMES,
    st.dictionaries(STREAMS, st.builds(StreamTime, TIMES, TIMES, TIMES), max_size=4),
)
CONTENTS = st.tuples(
    st.lists(PANES, max_size=4), st.lists(EXAMPLES_OF_PANES, max_size=3), st.lists(PROGRESS, max_size=4)
)

START_MS = 1_762_128_000_000
SCHEME = Scheme(
    "0123456789abcdef", 60_000, ("country",), ((CLUSTER_COUNTS, 2), (OUTLIERS, 1), (COORDINATE_SUMS, 1))
)
COMMIT = CommitId("driftgauge-0", 3, 4711)


def pane(stream="resnet18-fc1", values=(5, 7, 1, -2), segment=None, scheme=SCHEME):
    return PaneDelta(
        stream, scheme, START_MS, segment, np.array(values, np.int64), 12, (("embeddings", 3), 880)
    )


def progress(partition=3, **changes):
    fields = {
        "partition": ("embeddings", partition),
        "topic_id": "00112233445566778899aabbccddeeff",
        "partitions": 12,
        "start": 880,
        "end": 900,
        "begins": False,
        "lost": 2,
        "since_ms": START_MS,
        "caught_up_ms": None,
        "streams": {"resnet18-fc1": StreamTime(START_MS + 5, START_MS + 9, START_MS + 1)},
    }
    return PartitionProgress(**{**fields, **changes})


def encode(panes=(), examples=(), partitions=(), limit_bytes=2**20):
    return encode_commit(COMMIT, 16, panes, examples, partitions, limit_bytes)


def join(records):
    """What the parts of a commit say together."""
    parts = [decode_part(record) for record in records]
    deltas = [part for part in parts if isinstance(part, Partial)]
    last = [part for part in parts if isinstance(part, Progress)]
    assert parts == deltas + last, "progress last"
    assert last
    assert [part.index for part in parts] == list(range(len(parts)))
    assert {part.parts for part in parts} == {len(parts)}
    return (
        [delta for part in deltas for delta in part.panes],
        [delta for part in deltas for delta in part.examples],
        [each for part in last for each in part.partitions],
    )


@settings(max_examples=examples(300))
@given(COMMITS, st.integers(1, 2**31 - 1), CONTENTS)
def test_commit_survives(commit, shards, contents):
    panes, examples, partitions = contents
    records = encode_commit(commit, shards, panes, examples, partitions, 2**20)
    assert len(records) == (2 if panes or examples else 1)
    assert plain(tuple(map(tuple, join(records)))) == plain(tuple(map(tuple, contents)))
    for record in records:
        part = decode_part(record)
        assert (part.commit, part.shards) == (commit, shards)


@given(CONTENTS, st.integers(0, 3_000))
def test_no_part_exceeds_the_limit(contents, spare):
    panes, examples, partitions = contents
    alone = [
        *(encode([each])[0] for each in panes),
        *(encode((), [each])[0] for each in examples),
        *(encode((), (), [each])[0] for each in partitions),
        encode()[0],
    ]
    limit_bytes = max(map(len, alone)) + spare
    records = encode(panes, examples, partitions, limit_bytes)
    assert max(map(len, records)) <= limit_bytes
    assert plain(tuple(map(tuple, join(records)))) == plain(tuple(map(tuple, contents)))


def test_parts_of_progress_hold_each_partition_once():
    times = {f"stream-{n}": StreamTime(n, n, n) for n in range(20)}
    partitions = [progress(partition, streams=times) for partition in range(50)]
    records = encode((), (), partitions, 8_000)
    assert len(records) > 4
    assert max(map(len, records)) <= 8_000
    _, _, read = join(records)
    assert [each.partition[1] for each in read] == list(range(50))
    assert all(each.streams == times for each in read)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (((pane(),), (), ()), "a part of one pane of stream resnet18-fc1 alone takes"),
        (((), (), (progress(),)), r"a part of the progress of embeddings\[3\] alone takes"),
    ],
)
def test_delta_beyond_the_limit_says_what_to_do(content, what):
    with pytest.raises(StateError, match=f"^{what} .* takes 200: raise its max.message.bytes$"):
        encode(*content, limit_bytes=200)


def test_commit_without_content_is_one_progress():
    (record,) = encode()
    assert plain(decode_part(record)) == plain(Progress(COMMIT, 0, 1, 16, ()))


def test_same_input_gives_same_bytes():
    streams = {"b": StreamTime(1, 2, 3), "a": StreamTime(4, 5, 6)}
    turned = dict(reversed(streams.items()))
    assert encode((), (), [progress(streams=streams)]) == encode((), (), [progress(streams=turned)])


@pytest.mark.parametrize(("number", "size"), [(2**31 - 1, 4), (-(2**31), 4), (2**31, 8), (-(2**31) - 1, 8)])
def test_tallies_take_four_bytes_while_all_fit(number, size):
    record = encode([pane(values=(1, 2, 3, number))])[0]
    tallies = split(record)[3]
    assert len(tallies) == 4 * size
    assert decode_part(record).panes[0].values.tolist() == [1, 2, 3, number]


def test_tally_that_was_read_has_memory_of_its_own():
    first, second = decode_part(encode([pane(), pane()])[0]).panes
    first.values[:] += 1
    assert first.values.flags.owndata
    assert second.values.tolist() == [5, 7, 1, -2]
    assert second.values.dtype == np.int64


GOLDEN = {
    "deltas": (
        "01 61cad1b2 01 00000000 02000000"
        "77010000"
        + (
            '{"producer":"driftgauge-0","epoch":3,"commit":4711,"shards":16,"streams":["resnet18-fc1"],'
            '"schemes":[{"baseline":"0123456789abcdef","pane_ms":60000,"segment_keys":["country"],'
            '"statistics":[["cluster_counts",2],["outliers",1],["coordinate_sums",1]]}],'
            '"segments":[null,["country","de"]],"topics":["embeddings"],"tally_bytes":4,'
            '"examples":[[0,0,1762128000000,[[1,12,"köln"]]]]}'
        )
        .encode()
        .hex()
        + "28000000  0000000000000000 0000000000000000 0000000001000000 0000000000000000 0300000003000000"
        "30000000  007403479a010000007403479a010000 0c000000000000000100000000000000"
        "70030000000000007503000000000000"
        "20000000  050000000700000001000000feffffff 010000000000000000000000fbffffff"
    ),
    "progress": (
        "01 19776f85 02 01000000 02000000"
        "b3000000"
        + (
            b'{"producer":"driftgauge-0","epoch":3,"commit":4711,"shards":16,"topics":[{"name":"embeddings",'
            b'"id":"00112233445566778899aabbccddeeff","partitions":12}],"streams":["resnet18-fc1"]}'
        ).hex()
        + "48000000  0000000000000000 0300000000000000 0100000000000000 7003000000000000 8403000000000000"
        "0000000000000000 0200000000000000 007403479a010000 0000000000000080"
        "20000000  0000000000000000 057403479a010000 097403479a010000 017403479a010000"
    ),
}
GERMANY = PaneDelta(
    "resnet18-fc1",
    SCHEME,
    START_MS,
    ("country", "de"),
    np.array([1, 0, 0, -5]),
    1,
    (("embeddings", 3), 885),
)
RECORDS = [bytes.fromhex(text) for text in GOLDEN.values()]
RECORD = pytest.mark.parametrize("record", RECORDS, ids=GOLDEN)


def test_bytes_stay_as_they_are():
    panes = [pane(), GERMANY]
    examples = [ExamplesDelta("resnet18-fc1", SCHEME, START_MS, (Example(1, 12, "köln"),))]
    assert [record.hex() for record in encode(panes, examples, [progress()])] == [
        record.hex() for record in RECORDS
    ]
    read = join(RECORDS)
    assert plain(tuple(map(tuple, read))) == plain((tuple(panes), tuple(examples), (progress(),)))


@RECORD
def test_document_shows_these_bytes(record):
    document = "".join((SCHEMAS / "partial.v1.md").read_text("utf-8").split())
    header, *sections = split(record)
    assert record[: HEAD + 4].hex() in document
    assert header.decode() in document
    assert "".join(struct.pack("<I", len(section)).hex() + section.hex() for section in sections) in document


HEAD = 14


def split(record):
    """The header and the sections."""
    pieces, at = [], HEAD
    while at < len(record):
        (length,) = struct.unpack_from("<I", record, at)
        pieces.append(record[at + 4 : at + 4 + length])
        at += 4 + length
    return pieces


def build(record, pieces, version=1, place=None):
    """The record with other pieces and a checksum that fits."""
    content = place or record[5:HEAD]
    content += b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces)
    return struct.pack("<BI", version, zlib.crc32(content)) + content


@RECORD
def test_keys_and_sections_of_later_versions_are_ignored(record):
    header, *sections = split(record)
    document = orjson.loads(header) | {"later": {"a": [1]}}
    for name in ("schemes", "topics"):
        if name in document and isinstance(document[name][0], dict):
            document[name] = [each | {"later": 1} for each in document[name]]
    extended = build(record, [orjson.dumps(document), *sections, b"later", b""])
    assert plain(decode_part(extended)) == plain(decode_part(record))


@RECORD
@pytest.mark.parametrize("version", [2, 255])
def test_later_version_says_what_to_do(record, version):
    with pytest.raises(StateError) as caught:
        decode_part(build(record, split(record), version))
    assert str(caught.value) == (
        f"a record of the partials is of version {version}, and this version of driftgauge reads 1: a later "
        "version of driftgauge wrote it; update this replica"
    )


def test_unknown_kind_says_what_to_do():
    with pytest.raises(StateError) as caught:
        decode_part(build(RECORDS[0], split(RECORDS[0]), place=struct.pack("<BII", 3, 0, 2)))
    assert str(caught.value) == (
        "a record of the partials is of kind 3: a later version of driftgauge wrote it; update this replica"
    )


@RECORD
def test_any_damaged_byte_is_found(record):
    for at in range(len(record)):
        with pytest.raises(StateError):
            decode_part(record[:at] + bytes([record[at] ^ 0x41]) + record[at + 1 :])


@RECORD
def test_record_must_be_whole(record):
    for cut in range(len(record)):
        with pytest.raises(StateError, match=r"^a record of the partials is malformed "):
            decode_part(record[:cut])
    with pytest.raises(StateError, match="its checksum differs"):
        decode_part(record + b"\0")


@pytest.mark.parametrize(("index", "parts"), [(0, 0), (1, 1), (1, 2)])
def test_deltas_without_a_progress_to_follow_are_malformed(index, parts):
    with pytest.raises(StateError, match="malformed"):
        decode_part(build(RECORDS[0], split(RECORDS[0]), place=struct.pack("<BII", 1, index, parts)))


def test_part_beyond_the_last_is_malformed():
    with pytest.raises(StateError, match="its part is none of the commit's"):
        decode_part(build(RECORDS[1], split(RECORDS[1]), place=struct.pack("<BII", 2, 2, 2)))


@RECORD
def test_section_that_is_cut_short_is_malformed(record):
    content = build(record, [*split(record), b"later"])[5:-1]
    with pytest.raises(StateError, match="a section is cut short"):
        decode_part(struct.pack("<BI", 1, zlib.crc32(content)) + content)


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
        ("progress", 2, 0, number(1, 8)),  # one stream
        ("progress", 2, 0, number(-1, 8)),
    ],
)
def test_number_out_of_range_is_malformed(part, section, at, numbers):
    record = bytes.fromhex(GOLDEN[part])
    pieces = split(record)
    before = pieces[section]
    pieces[section] = before[:at] + numbers + before[at + len(numbers) :]
    assert len(pieces[section]) == len(before)
    with pytest.raises(StateError, match="a record of the partials is malformed"):
        decode_part(build(record, pieces))


@RECORD
def test_section_of_another_length_is_malformed(record):
    pieces = split(record)
    for section in range(1, len(pieces)):
        for changed in (pieces[section][:-4], pieces[section] + bytes(4), b""):
            others = [*pieces[:section], changed, *pieces[section + 1 :]]
            with pytest.raises(StateError, match="a record of the partials is malformed"):
                decode_part(build(record, others))
        with pytest.raises(StateError, match="a section is missing"):
            decode_part(build(record, pieces[:section]))


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
def test_header_that_says_something_else_is_malformed(part, change):
    record = bytes.fromhex(GOLDEN[part])
    header, *sections = split(record)
    text = orjson.dumps(orjson.loads(header) | change)
    with pytest.raises(StateError, match="a record of the partials is malformed"):
        decode_part(build(record, [text, *sections]))


def test_stream_comes_once_in_a_partition():
    streams = {"a": StreamTime(1, 2, 3), "b": StreamTime(4, 5, 6)}
    (record,) = encode((), (), [progress(streams=streams)])
    header, numbers, times = split(record)
    twice = bytes(8) + bytes(8) + times[16:]
    with pytest.raises(StateError, match="a stream is there twice"):
        decode_part(build(record, [header, numbers, twice]))


def test_message_quotes_no_value():
    header, *sections = split(RECORDS[0])
    changed = header.replace(b"resnet18-fc1", b"secret stream")
    with pytest.raises(StateError) as caught:
        decode_part(build(RECORDS[0], [changed, *sections]))
    assert "streams.0" in str(caught.value)
    assert "secret" not in str(caught.value)


@settings(max_examples=examples(400))
@given(st.sampled_from(RECORDS), st.data())
def test_any_content_is_read_or_is_a_state_error(record, data):
    """The checksum fits, so that what is behind it must hold by itself."""
    content = bytearray(record[5:])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(len(content) - 40, len(content)))])
    try:
        decode_part(struct.pack("<BI", 1, zlib.crc32(content)) + content)
    except StateError:
        return
