"""Partials decode to the commit that was encoded; `schemas/partial.md` describes them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.partial import StreamTime
from driftgauge.core.statistics import registry
from driftgauge.errors import StateError
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


@settings(max_examples=examples(300))
@given(COMMITS, st.integers(1, 2**31 - 1), CONTENTS)
def test_commit_decodes_to_encoded_commit(commit, shards, contents):
    panes, partitions = contents
    records = encode_commit(commit, shards, panes, partitions, 2**20, written_ms=WRITTEN_MS)
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))
    part = decode_part(*records)
    assert (part.commit, part.shards, part.written_ms) == (commit, shards, WRITTEN_MS)


@given(CONTENTS, st.integers(0, 3_000))
def test_parts_stay_within_limit(contents, spare):
    panes, partitions = contents
    alone = [
        *(encode_parts([each])[0] for each in panes),
        *(encode_parts((), [each])[0] for each in partitions),
        encode_parts()[0],
    ]
    # The lengths of the lists, the index and the number of parts may take more than alone.
    limit_bytes = max(map(len, alone)) + 20 + spare
    records = encode_parts(panes, partitions, limit_bytes)
    assert max(map(len, records)) <= limit_bytes
    assert plain(tuple(map(tuple, join_parts(records)))) == plain(tuple(map(tuple, contents)))


@pytest.mark.parametrize(
    ("content", "subject"),
    [
        (((build_pane(),), ()), "one pane of stream resnet18-fc1 takes"),
        (((), (build_progress(),)), r"the progress of embeddings\[3\] takes"),
    ],
)
def test_single_item_beyond_limit_is_refused_with_remedy(content, subject):
    with pytest.raises(StateError, match=f"^{subject} .* accepts 200 in a record: raise its max.mess"):
        encode_parts(*content, limit_bytes=200)


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
    names |= {field.name for each in registry.STATISTICS for field in each.fields(2, 2)}
    assert [name for name in sorted(names) if f"`{name}`" not in document] == []
