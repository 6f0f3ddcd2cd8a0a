"""Partials decode to the commit that was encoded; `schemas/partial.md` describes them."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.partial import StreamTime
from driftgauge.core.statistics import registry
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.events import SCHEMAS
from tests.builders.partial_records import (
    COMMITS,
    CONTENTS,
    PART,
    WRITTEN_MS,
    build_pane,
    build_progress,
    encode_parts,
    join_parts,
)
from tests.builders.results import plain
from tests.examples import examples


@settings(max_examples=examples(60))
@given(COMMITS, st.integers(1, 2**31 - 1), CONTENTS)
def test_commit_decodes_to_encoded_commit(commit, shards, contents):
    panes, partitions = contents
    records = encode_commit(commit, shards, panes, partitions, 2**20, written_ms=WRITTEN_MS)
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))
    part = decode_part(*records)
    assert (part.commit, part.shards, part.written_ms) == (commit, shards, WRITTEN_MS)


@given(CONTENTS, st.integers(0, 3_000))
def test_part_exceeds_its_size_only_with_one_item_alone(contents, part_bytes):
    panes, partitions = contents
    records = encode_parts(panes, partitions, part_bytes)
    parts = [decode_part(record) for record in records]
    numbers = [len(part.panes) + len(part.partitions) for part in parts]
    assert all(
        len(record) <= part_bytes or number <= 1 for record, number in zip(records, numbers, strict=True)
    )
    assert 0 not in numbers or len(records) == 1
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))


def test_order_of_streams_does_not_change_bytes():
    streams = {"b": StreamTime(1, 2, 3), "a": StreamTime(4, 5, 6)}
    turned = dict(reversed(streams.items()))
    assert encode_parts((), [build_progress(streams=streams)]) == encode_parts(
        (), [build_progress(streams=turned)]
    )


def test_decoded_tally_owns_its_memory():
    first, second = decode_part(encode_parts([build_pane(), build_pane()])[0]).panes
    first.values[:] += 1
    assert second.values.tolist() == [5, 7, 1, 0, -2]
    assert second.values.dtype == np.int64


def test_document_names_fields_of_part_and_tally():
    document = (SCHEMAS / "partial.md").read_text("utf-8")
    names = {field.name for field in dataclasses.fields(PART)}
    names |= {name for each in registry.STATISTICS for name in each.fields}
    assert [name for name in sorted(names) if f"`{name}`" not in document] == []
