"""Changelog records decode to the encoded values; `schemas/changelog.md` describes them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import (
    BLOCK_PARTITIONS,
    DataLoss,
    EventTimeKey,
    EventTimes,
    ExamplesKey,
    PaneCounts,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from driftgauge.errors import StateError
from driftgauge.records.changelog_records import decode, encode_key, encode_value
from driftgauge.records.window_results import to_record
from tests.builders.changelog_records import CLEAN, GOLDEN, MEASUREMENT
from tests.builders.events import SCHEMAS
from tests.builders.results import build_result, build_score, plain
from tests.builders.strategies import (
    EXAMPLES,
    JUDGING,
    LAST,
    NUMBER_TALLIES,
    PARTITIONS,
    RESULTS,
    SEGMENTS,
    STREAMS,
    TEXTS,
    TIMES,
    VERDICTS,
)
from tests.examples import examples

TALLY = encode_value(PaneCounts(np.zeros(1, np.int64)))
SOUND = b'["pane",{"stream":"s","scheme":"ab","pane":{"size_ms":1,"start_ms":0},"segment":null}]'


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\xff\xfe",
        b"position",
        b'["position"]',
        b'["pane",{"stream":"s"}]',
        b'["pane",{"stream":1,"scheme":"ab","pane":{"size_ms":1,"start_ms":0},"segment":null}]',
        # Other spellings of a sound key.
        SOUND.replace(b",", b", ", 1),
        SOUND + b"\n",
        SOUND.replace(b'"s"', b'"\\u0073"'),
        SOUND.replace(b',"segment":null', b""),
        SOUND.replace(b"}]", b',"more":1}]'),
        SOUND.replace(b'"size_ms":1,"start_ms":0', b'"start_ms":0,"size_ms":1'),
    ],
)
def test_malformed_key_is_refused(key):
    assert decode(SOUND, TALLY)[0] == PaneKey("s", "ab", Window(1, 0))
    with pytest.raises(
        StateError, match=r"(?s)^the changelog record .* is malformed .*: it is damaged, or another"
    ):
        decode(key, TALLY)


SCHEMES = st.from_regex("[0-9a-f]{16}-[0-9a-f]{8}", fullmatch=True)
TOPICS = st.from_regex("[a-zA-Z0-9._-]{1,249}", fullmatch=True)
COUNTS = st.integers(0, LAST)
OPTIONAL_TIMES = st.none() | TIMES
INTEGERS = st.integers(0, 10**18 - 1)
BLOCKS = st.integers(0, 2**14 - 1)
PANES = st.builds(Window, INTEGERS, INTEGERS)
# Counts first, then sums of coordinates.
TALLIES = st.builds(
    lambda counts, sums: np.concatenate((counts, sums)),
    st.sampled_from([0, 255, 256, 10_000, 2**32, LAST]).flatmap(
        lambda most: arrays.arrays(np.int64, st.integers(0, 70), elements=st.integers(0, most))
    ),
    arrays.arrays(np.int64, st.integers(0, 33), elements=st.integers(-LAST - 1, LAST)),
)


def blocks(columns: int) -> st.SearchStrategy[np.ndarray]:
    """Return a strategy for the rows of a block, (n, columns)."""
    rows = st.integers(1, BLOCK_PARTITIONS)
    return rows.flatmap(
        lambda n: arrays.arrays(np.int64, (n, columns), elements=st.integers(-LAST - 1, LAST))
    )


POSITIONS = st.builds(
    ShardPosition,
    st.integers(1, 2**31 - 1),
    COUNTS,
    TIMES,
    st.dictionaries(st.tuples(TEXTS, COUNTS), st.tuples(COUNTS, COUNTS, TIMES), max_size=3),
    COUNTS,
    COUNTS,
    COUNTS,
    st.none() | COUNTS,
    OPTIONAL_TIMES,
)
PAIRS = st.lists(st.tuples(TIMES, TIMES), max_size=3).map(tuple)
LOSSES = st.builds(DataLoss, st.none() | PARTITIONS, OPTIONAL_TIMES, OPTIONAL_TIMES)
STATUSES = st.builds(
    StreamStatus,
    watermark_ms=OPTIONAL_TIMES,
    final_ms=OPTIONAL_TIMES,
    pending_watermark=st.none() | st.tuples(TIMES, TIMES),
    foremost=PAIRS,
    given_up=st.frozensets(PARTITIONS, max_size=3),
    losses=st.lists(LOSSES, max_size=3).map(tuple),
    counted_twice=PAIRS,
    late=st.dictionaries(COUNTS, COUNTS, max_size=3),
    closed=st.dictionaries(st.tuples(COUNTS, VERDICTS), COUNTS, max_size=3),
    purged_ms=OPTIONAL_TIMES,
)


def _keyed(drawn: Any) -> tuple[Any, Any]:
    (key, value), *named = drawn
    return key(*named), value


RECORDS = st.one_of(
    st.tuples(st.just(PositionKey()), POSITIONS),
    st.tuples(
        st.builds(SourcesKey, TOPICS, BLOCKS),
        st.builds(
            SourceBlock,
            st.sampled_from(["", "ab" * 16]),
            st.sampled_from([(), ("",), ("cd" * 16,) * 6]),
            st.integers(0, 2**20),
            blocks(4),
            st.sampled_from([(), (0, 63)]),
        ),
    ),
    st.tuples(st.builds(StreamKey, STREAMS), STATUSES),
    st.tuples(st.builds(EventTimeKey, STREAMS, TOPICS, BLOCKS), st.builds(EventTimes, blocks(2))),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES), st.builds(PaneCounts, TALLIES, NUMBER_TALLIES)),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES, SEGMENTS), st.builds(PaneCounts, TALLIES)),
    st.tuples(st.builds(ExamplesKey, STREAMS, SCHEMES, PANES), EXAMPLES),
    st.tuples(st.builds(PublishedKey, STREAMS, PANES), RESULTS),
    st.tuples(JUDGING, STREAMS, INTEGERS, SCHEMES).map(_keyed),
)


@settings(max_examples=examples(80))
@given(RECORDS)
def test_record_decodes_to_encoded_value(record):
    key, value = record
    read_key, read_value = decode(encode_key(key), encode_value(value))
    assert read_key == key
    assert type(read_value) is type(value)
    assert plain(read_value) == plain(value)
    assert encode_value(read_value) == encode_value(value)


@pytest.mark.parametrize(("key", "value", "raw"), GOLDEN.values(), ids=GOLDEN.keys())
def test_golden_record_decodes_from_its_key(key, value, raw):
    assert encode_key(key) == raw
    read_key, read_value = decode(raw, encode_value(value))
    assert (read_key, plain(read_value)) == (key, plain(value))


def test_document_names_keys():
    document = (SCHEMAS / "changelog.md").read_text("utf-8")
    assert [raw for _, _, raw in GOLDEN.values() if f"    {raw.decode()}\n" not in document] == []


def fill(order):
    """Return values whose sets and mappings are filled in an order."""
    segments = {("country", name): CLEAN.all for name in order("ba")}
    return [
        StreamStatus(
            late=dict(order([(1, 2), (3, 4)])),
            closed=dict(order([((1, Verdict.OK), 2), ((1, Verdict.DRIFT), 3)])),
            given_up=frozenset((f"topic-{number}", 0) for number in order(range(50))),
        ),
        ShardPosition(1, 0, 0, {(name, 0): (1, 5, 7) for name in order("ba")}),
        replace(MEASUREMENT, clean=replace(CLEAN, segments=segments)),
    ]


def test_order_of_sets_and_mappings_does_not_change_bytes():
    assert [*map(encode_value, fill(list))] == [*map(encode_value, fill(reversed))]


def test_result_that_public_schema_refuses_is_restored():
    """A public schema that becomes stricter must not make the state unreadable."""
    score = build_score((10, 20, 30, 40), noise_floor=math.nan)
    result = build_result(score=score)
    with pytest.raises(ValidationError):
        to_record(result, None)
    _, read = decode(GOLDEN["published"][2], encode_value(result))
    assert math.isnan(read.score.divergence.noise_floor)
    assert read.counts.tolist() == [10, 20, 30, 40]
