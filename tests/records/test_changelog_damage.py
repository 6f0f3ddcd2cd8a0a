"""Changelog records that are damaged or of another version are refused."""

import base64
import json

import numpy as np
import pytest

from driftgauge.core.windows.changelog import (
    BLOCK,
    SourceBlock,
)
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_value
from tests.builders.changelog_records import GOLDEN, HISTORY, JSON, RECORD, RESULT

MALFORMED = r" is malformed \(.*\): it is damaged, or another program wrote it; keep "


@RECORD
@pytest.mark.parametrize("later", [1, 200])
def test_later_version_is_refused_with_remedy(key, value, later):
    with pytest.raises(StateError) as caught:
        decode(key, bytes([value[0] + later]) + value[1:])
    assert str(caught.value) == (
        f"the changelog record {key.decode()} has format version {1 + later}, and this driftgauge "
        "reads version 1: a later driftgauge wrote it; update this replica"
    )


def test_earlier_version_is_refused_with_remedy():
    with pytest.raises(StateError) as caught:
        decode(b"position", b"\0")
    assert str(caught.value) == (
        "the changelog record position has format version 0, and this driftgauge reads version 1: an earlier "
        "driftgauge wrote it; run that version, or set another topics.internal"
    )


@RECORD
def test_truncated_value_is_malformed(key, value):
    for cut in range(len(value)):
        with pytest.raises(StateError, match=MALFORMED):
            decode(key, value[:cut])


@RECORD
def test_value_with_trailing_byte_is_malformed(key, value):
    with pytest.raises(StateError, match=MALFORMED):
        decode(key, value + b"\0")


@pytest.mark.parametrize(
    ("kind", "at", "byte"),
    [
        ("pane", 1, 0),  # an unknown size of counts
        ("pane", 1, 3),
        ("pane", 1, 8),
        ("pane", 5, 255),  # billions of clusters
        ("pane", 9, 255),  # billions of components
        ("segment", 1, 0),
        ("published", 20, 255),  # not UTF-8
        ("sources", 5, 255),  # an id beyond the end
        ("sources", 6, 255),  # not UTF-8
        ("sources", 10, 1),  # a row too many
        ("sources", 11, 3),  # a column is missing
        ("sources", 11, 5),
        ("time", 1, 65),  # more rows than a block
        ("time", 2, 0),
        ("time", 2, 1),
    ],
)
def test_binary_value_with_wrong_byte_is_malformed(kind, at, byte):
    _, _, key, text = GOLDEN[kind]
    value = bytearray.fromhex(text)
    assert value[at] != byte
    value[at] = byte
    with pytest.raises(StateError, match=f"{kind}/.*" + MALFORMED):
        decode(key, bytes(value))


@pytest.mark.parametrize(
    ("kind", "piece", "other"),
    [
        ("published", '"verdict":"drift"', '"verdict":"fine"'),
        ("published", '"superseded":"incomplete"', '"superseded":"x"'),
        ("published", '"window":"1h"', '"window":"an hour"'),
        ("published", '"start":"2025-11-03T00:00:00Z"', '"start":"2025-02-30T00:00:00Z"'),
        ("published", '"count":80', '"count":-80'),
        ("published", '"count":80', '"count":80.0'),
        ("published", '"count":80', '"count":99999999999999999999'),
        ("published", '"baseline_counts":[500,500]', '"baseline_counts":[500,99999999999999999999]'),
        ("published", '"baseline_counts":[500,500]', '"baseline_counts":[500]'),
        ("published", '"baseline_counts":[500,500]', '"baseline_counts":[500,500,0]'),
        ("published", '"baseline_counts":[500,500]', '"baseline_counts":[0,0]'),
        ("published", '"js_distance":0.375', '"js_distance":NaN'),
        ("published", '"slow_limit":6.5', '"slow_limit":Infinity'),
        ("published", '"slow_limit":6.5,', ""),
        ("published", '"recent":[false]', '"recent":[0]'),
        ("history", '"end_ms":1762131600000', '"end_ms":"1762131600000"'),
        ("history", '"windows":24', '"windows":-1'),
        ("history", '"warm_up":[1760918400000,', '"warm_up":['),
        ("history", '"components":2', '"components":3'),
        ("history", "AAAAAAAAPEA", "AAAAAAAAPE!"),
        ("history", "AAAAAAAAPEAAAAAAAADgvwAAAAAAAOC/AAAAAAAAOUA=", ""),
        ("history", '"slow":2.5,', ""),
        ("examples", "[7,12,", '["7",12,'),
        ("examples", "[7,12,", "[7,12,1,"),
        ("examples", '"köln"', "5"),
    ],
)
def test_json_value_with_wrong_field_is_malformed(kind, piece, other):
    text = JSON[kind]
    assert piece in text
    _, _, key, golden = GOLDEN[kind]
    version = bytes.fromhex(golden[:2])
    decode(key, version + text.encode())
    with pytest.raises(StateError, match=MALFORMED):
        decode(key, version + text.replace(piece, other, 1).encode())


@pytest.mark.parametrize("shape", [(BLOCK + 1, 4), (2, 1), (2, 0)])
def test_block_of_another_shape_is_malformed(shape):
    values = np.zeros(shape, np.int64)
    for key, value in ((b"time/s/t/0", values), (b"sources/t/0", SourceBlock("", (), 3, values))):
        with pytest.raises(StateError, match="its shape is not that of a block"):
            decode(key, encode_value(value))


@pytest.mark.parametrize("clusters", [[], [{"count": 0}, {"count": 0}]])
def test_result_without_events_is_malformed(clusters):
    document = json.loads(RESULT)
    its = document["result"]["clusters"]
    document["result"]["clusters"] = [each | change for each, change in zip(its, clusters, strict=False)]
    document["baseline_counts"] = document["baseline_counts"][: len(clusters)]
    with pytest.raises(
        StateError,
        match="published/.*" + MALFORMED,
    ):
        decode(GOLDEN["published"][2], b"\x01" + json.dumps(document).encode())


def encoded(*numbers):
    """Return a matrix as a history stores it."""
    return base64.b64encode(np.array(numbers, "<f8").tobytes()).decode()


NOTHING = {"windows": 0, "chi_squared": 0.0, "products": ""}
NOTHING_LEARNED = {"clean": NOTHING, "segments": []}


@pytest.mark.parametrize(
    ("place", "change"),
    [
        *(
            (place, change)
            for place in (("clean",), ("segments", 0, "clean"))
            for change in (
                {"products": encoded(28, np.nan, np.nan, 25)},
                {"products": encoded(np.inf, 0, 0, 25)},
                {"products": encoded(-28, 0, 0, 25)},
                {"products": encoded(28, 1, 2, 25)},
                {"products": encoded(1e101, 0, 0, 25)},
                {"products": encoded(28, 0, 0)},
                {"products": encoded(28, 0, 0, 25)[:-1]},
                {"products": ""},
                {"chi_squared": -3.0},
                {"chi_squared": np.nan},
                {"chi_squared": np.inf},
                {"chi_squared": 1e101},
                {"windows": -1},
                {"windows": 2**31 + 1},
                {"windows": 10**30},
                {"windows": 1e30},
                {"windows": 0},
                NOTHING | {"chi_squared": 1.0},
                NOTHING | {"products": encoded(28, 0, 0, 25)},
            )
        ),
        *(((), NOTHING_LEARNED | {"components": components}) for components in (-1, 0, 33, 10**6)),
        (("recall",), {"slow": -5.0}),
        (("recall",), {"slow": np.nan}),
        (("recall",), {"slow": np.inf}),
        (("recall",), {"recent": [True] * 3}),
        (("recall",), {"recent": [True] * 1_000}),
        (("recall", "segments", 0), {"recent": [True] * 3}),
    ],
)
def test_impossible_history_is_malformed(place, change):
    document = json.loads(HISTORY)
    part = document
    for step in place:
        part = part[step]
    part |= change
    with pytest.raises(StateError, match="history/.*" + MALFORMED):
        decode(b"history/s/3600000", b"\x01" + json.dumps(document).encode())


@pytest.mark.parametrize(
    ("kind", "place"), [("history", ()), ("history", ("recall",)), ("published", ("recall",))]
)
def test_duplicate_segment_is_malformed(kind, place):
    _, _, key, text = GOLDEN[kind]
    document = json.loads(JSON[kind])
    part = document
    for step in place:
        part = part[step]
    for number, is_kept in ((1, True), (2, False)):
        part["segments"] = part["segments"][:1] * number
        value = bytes.fromhex(text[:2]) + json.dumps(document).encode()
        if is_kept:
            decode(key, value)
        else:
            with pytest.raises(
                StateError,
                match=f"{kind}/.*" + MALFORMED,
            ):
                decode(key, value)
