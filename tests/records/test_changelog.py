"""Changelog records decode to the encoded values; `schemas/changelog.v1.md` shows the same bytes."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.windows.changelog import (
    ShardPosition,
    SourceBlock,
    StreamStatus,
)
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_key, encode_value
from tests.builders.changelog_records import GOLDEN, IDENTITY, JSON
from tests.builders.changelog_strategies import RECORDS
from tests.builders.events import SCHEMAS
from tests.builders.results import plain
from tests.builders.strategies import LAST
from tests.examples import examples


@settings(max_examples=examples(500))
@given(RECORDS)
def test_record_decodes_to_encoded_value(record):
    key, value = record
    read_key, read_value = decode(encode_key(key), encode_value(value))
    assert read_key == key
    assert type(read_value) is type(value)
    assert plain(read_value) == plain(value)
    assert encode_value(read_value) == encode_value(value)


@given(RECORDS)
def test_tombstone_decodes_to_key_without_value(record):
    key, _ = record
    assert decode(encode_key(key), None) == (key, None)


@pytest.mark.parametrize(("key", "value", "raw_key", "text"), GOLDEN.values(), ids=GOLDEN.keys())
def test_bytes_match_golden_records(key, value, raw_key, text):
    assert encode_key(key) == raw_key
    assert encode_value(value).hex() == bytes.fromhex(text).hex()
    read_key, read_value = decode(raw_key, bytes.fromhex(text))
    assert (read_key, plain(read_value)) == (key, plain(value))


@pytest.mark.parametrize("kind", GOLDEN)
def test_document_shows_golden_bytes(kind):
    _, _, key, text = GOLDEN[kind]
    document = (SCHEMAS / "changelog.v1.md").read_text("utf-8")
    assert f"`{key.decode()}`" in document
    shown = text[:2] + JSON[kind] if kind in JSON else "".join(text.split())
    assert shown in "".join(document.split())


def test_order_of_mappings_does_not_change_bytes():
    status = StreamStatus(
        late={1: 2, 3: 4}, revised={1: 2, 3: 4}, closed={(1, Verdict.OK): 2, (1, Verdict.DRIFT): 3}
    )
    turned = StreamStatus(
        late={3: 4, 1: 2}, revised={3: 4, 1: 2}, closed={(1, Verdict.DRIFT): 3, (1, Verdict.OK): 2}
    )
    assert encode_value(status) == encode_value(turned)
    producers = {(name, 0): (1, 5) for name in "ba"}
    position = ShardPosition(1, 0, 0, "w", producers)
    assert encode_value(position) == encode_value(
        replace(position, producers=dict(reversed(producers.items())))
    )


@pytest.mark.parametrize(
    ("highest", "size"),
    [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4)],
)
def test_counts_take_fewest_bytes_that_hold_maximum(highest, size):
    raw = encode_value(np.array([1, highest], np.int64))
    assert len(raw) == 1 + 1 + 4 + 4 + 2 * size
    assert decode(b"pane/s/ab/60000/0", raw)[1].tolist() == [1, highest]


@pytest.mark.parametrize("wide", [2**32, LAST, -1, -LAST - 1])
def test_numbers_from_first_wide_one_take_eight_bytes(wide):
    raw = encode_value(np.array([1, 2, wide, 3], np.int64))
    assert len(raw) == 1 + 1 + 4 + 4 + 2 * 1 + 2 * 8
    assert decode(b"pane/s/ab/60000/0", raw)[1].tolist() == [1, 2, wide, 3]


@pytest.mark.parametrize("kind", ["position", "stream", "published", "history"])
def test_fields_of_later_versions_are_ignored(kind):
    key, value, raw_key, _ = GOLDEN[kind]

    def extend(document):
        if isinstance(document, dict):
            return {name: extend(each) for name, each in document.items()} | {"later": {"a": [1]}}
        return [extend(each) for each in document] if isinstance(document, list) else document

    extended = json.dumps(extend(json.loads(JSON[kind]))).encode()
    assert extended.count(b"later") > 1
    read_key, read_value = decode(raw_key, b"\x01" + extended)
    assert (read_key, plain(read_value)) == (key, plain(value))


def test_columns_of_later_versions_are_ignored():
    values = np.arange(21).reshape(3, 7)
    _, times = decode(b"time/s/t/0", encode_value(values))
    assert times.tolist() == [[0, 1], [7, 8], [14, 15]]
    _, block = decode(b"sources/t/0", encode_value(SourceBlock("", (), 3, values)))
    assert block.values.tolist() == [[0, 1, 2, 3], [7, 8, 9, 10], [14, 15, 16, 17]]
    for read in (times, block.values):
        assert read.flags.owndata
        assert read.flags.writeable


def test_history_without_warm_up_stores_no_matrix():
    history = VerdictHistory(
        f"sha256:{IDENTITY}", 0, VerdictMemory(), None, OverdispersionEstimator.empty(MAX_COMPONENTS)
    )
    raw = encode_value(history)
    assert len(raw) < 290
    assert json.loads(raw[1:])["clean"]["products"] == ""
    assert plain(decode(b"history/s/60000", raw)[1]) == plain(history)


@settings(max_examples=examples(500))
@given(
    st.sampled_from(list(GOLDEN)),
    st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x01" + rest),
)
def test_random_bytes_decode_or_raise_state_error(kind, raw):
    key = GOLDEN[kind][2]
    try:
        _, value = decode(key, raw)
    except StateError:
        return
    assert plain(decode(key, encode_value(value))[1]) == plain(value)


def without(value, *names):
    """Return a document without these fields, wherever they are."""
    if isinstance(value, dict):
        return {name: without(each, *names) for name, each in value.items() if name not in names}
    return [without(each, *names) for each in value] if isinstance(value, list) else value


def read_json(key, document):
    """Return the value of a record with this JSON."""
    return decode(encode_key(key), b"\x01" + json.dumps(document).encode())[1]


@pytest.mark.parametrize("tests", [0, 3])
def test_records_before_all_tests_are_read(tests):
    """The version is the same, so a restart must not stop a shard."""
    later = ["duplicates", "leading_p_value", "novelty_contribution"]
    if not tests:
        later += ["novelty_excess", "novelty_p_value", "spread", "evidence", "kind"]
    result: Any
    history: Any
    key, result, *_ = GOLDEN["published"]
    document = without(json.loads(encode_value(result)[1:]), *later)
    read = read_json(key, document)
    assert read.score is None, "the score lacks tests; the next revision has them"
    assert (read.verdict, read.counts.tolist()) == (result.verdict, result.counts.tolist())
    key, history, *_ = GOLDEN["history"]
    document = json.loads(encode_value(history)[1:])
    document["clean"]["distances"] = document["clean"]["distances"][:tests]
    read = read_json(key, document)
    assert (read.memory, read.end_ms) == (history.memory, history.end_ms)
    # Clean windows that do not calibrate all tests count as not seen.
    assert read.clean.windows == 0
