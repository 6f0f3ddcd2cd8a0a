"""Partials decode to the commit that was encoded; `schemas/partial.v2.md` shows the same bytes."""

import struct

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.partial import (
    ExamplesDelta,
    StreamTime,
)
from driftgauge.errors import StateError
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import SCHEMAS
from tests.builders.partial_records import (
    COMMITS,
    CONTENTS,
    GERMANY,
    HEAD,
    RECORD,
    RECORDS,
    SCHEME,
    WRITTEN_MS,
    build_pane,
    build_progress,
    encode_parts,
    join_parts,
    rebuild_record,
    split_record,
)
from tests.builders.results import plain
from tests.examples import examples


@settings(max_examples=examples(300))
@given(COMMITS, st.integers(1, 2**31 - 1), CONTENTS)
def test_commit_decodes_to_encoded_commit(commit, shards, contents):
    panes, examples, partitions = contents
    records = encode_commit(commit, shards, panes, examples, partitions, 2**20, written_ms=WRITTEN_MS)
    assert len(records) == (2 if panes or examples else 1)
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))
    for record in records:
        part = decode_part(record)
        assert (part.commit, part.shards) == (commit, shards)


@given(CONTENTS, st.integers(0, 3_000))
def test_parts_stay_within_limit(contents, spare):
    panes, examples, partitions = contents
    alone = [
        *(encode_parts([each])[0] for each in panes),
        *(encode_parts((), [each])[0] for each in examples),
        *(encode_parts((), (), [each])[0] for each in partitions),
        encode_parts()[0],
    ]
    limit_bytes = max(map(len, alone)) + spare
    records = encode_parts(panes, examples, partitions, limit_bytes)
    assert max(map(len, records)) <= limit_bytes
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))


@pytest.mark.parametrize(
    ("content", "subject"),
    [
        (((build_pane(),), (), ()), "one pane of stream resnet18-fc1 takes"),
        (((), (), (build_progress(),)), r"the progress of embeddings\[3\] takes"),
    ],
)
def test_single_item_beyond_limit_is_refused_with_remedy(content, subject):
    with pytest.raises(StateError, match=f"^{subject} .* accepts 200 in a record: raise its max.mess"):
        encode_parts(*content, limit_bytes=200)


def test_order_of_streams_does_not_change_bytes():
    streams = {"b": StreamTime(1, 2, 3), "a": StreamTime(4, 5, 6)}
    turned = dict(reversed(streams.items()))
    assert encode_parts((), (), [build_progress(streams=streams)]) == encode_parts(
        (), (), [build_progress(streams=turned)]
    )


@pytest.mark.parametrize(("number", "size"), [(2**31 - 1, 4), (-(2**31), 4), (2**31, 8), (-(2**31) - 1, 8)])
def test_tallies_take_four_bytes_if_all_fit(number, size):
    record = encode_parts([build_pane(values=(1, 2, 3, 4, number))])[0]
    tallies = split_record(record)[3]
    assert len(tallies) == 5 * size
    assert decode_part(record).panes[0].values.tolist() == [1, 2, 3, 4, number]


def test_decoded_tally_owns_its_memory():
    first, second = decode_part(encode_parts([build_pane(), build_pane()])[0]).panes
    first.values[:] += 1
    assert first.values.flags.owndata
    assert second.values.tolist() == [5, 7, 1, 0, -2]
    assert second.values.dtype == np.int64


def test_bytes_match_golden_parts():
    panes = [build_pane(), GERMANY]
    examples = [ExamplesDelta("resnet18-fc1", SCHEME, MONDAY_MS, (Example(1, 12, "köln"),))]
    assert [record.hex() for record in encode_parts(panes, examples, [build_progress()])] == [
        record.hex() for record in RECORDS
    ]
    read = join_parts(RECORDS)
    assert plain(tuple(map(tuple, read))) == plain((tuple(panes), tuple(examples), (build_progress(),)))


@RECORD
def test_document_shows_golden_bytes(record):
    document = "".join((SCHEMAS / "partial.v2.md").read_text("utf-8").split())
    header, *sections = split_record(record)
    assert record[: HEAD + 4].hex() in document
    assert header.decode() in document
    assert "".join(struct.pack("<I", len(section)).hex() + section.hex() for section in sections) in document


@RECORD
def test_keys_and_sections_of_later_versions_are_ignored(record):
    header, *sections = split_record(record)
    document = orjson.loads(header) | {"later": {"a": [1]}}
    for name in ("schemes", "topics"):
        if name in document and isinstance(document[name][0], dict):
            document[name] = [each | {"later": 1} for each in document[name]]
    extended = rebuild_record(record, [orjson.dumps(document), *sections, b"later", b""])
    assert plain(decode_part(extended)) == plain(decode_part(record))
