"""The records of the changelog; `schemas/changelog.v1.md` must show the same bytes."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.windows.changelog import (
    BLOCK,
    DataLoss,
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.result import Score, Verdict, VerdictMemory
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.core.windows.window import Window
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_key, encode_value
from tests.events.golden import SCHEMAS
from tests.events.strategies import (
    EXAMPLES,
    HISTORIES,
    LAST,
    PARTITIONS,
    RESULTS,
    SEGMENTS,
    STREAMS,
    TEXTS,
    TIMES,
    VERDICTS,
)
from tests.examples import examples
from tests.results import build_result, build_small_segment, plain

SCHEMES = st.from_regex("[0-9a-f]{16}-[0-9a-f]{8}", fullmatch=True)
TOPICS = st.from_regex("[a-zA-Z0-9._-]{1,249}", fullmatch=True)
COUNTS = st.integers(0, LAST)
MAYBE = st.none() | TIMES
PLACES = st.integers(0, 10**18 - 1)
PANES = st.builds(Window, PLACES, PLACES)
# Counts first, then sums of places.
TALLIES = st.builds(
    lambda counts, sums: np.concatenate((counts, sums)),
    st.sampled_from([0, 255, 256, 10_000, 2**32, LAST]).flatmap(
        lambda most: arrays.arrays(np.int64, st.integers(0, 70), elements=st.integers(0, most))
    ),
    arrays.arrays(np.int64, st.integers(0, 33), elements=st.integers(-LAST - 1, LAST)),
)


def blocks(columns):
    """The numbers of some partitions of a block."""
    rows = st.integers(0, BLOCK)
    return rows.flatmap(
        lambda n: arrays.arrays(np.int64, (n, columns), elements=st.integers(-LAST - 1, LAST))
    )


POSITIONS = st.builds(
    ShardPosition,
    st.integers(1, 2**31 - 1),
    COUNTS,
    TIMES,
    TEXTS,
    st.dictionaries(st.tuples(TEXTS, COUNTS), st.tuples(COUNTS, TIMES), max_size=3),
    COUNTS,
    COUNTS,
    COUNTS,
)
PAIRS = st.lists(st.tuples(TIMES, TIMES), max_size=3).map(tuple)
STATUSES = st.builds(
    StreamStatus,
    watermark_ms=MAYBE,
    final_ms=MAYBE,
    frontier=st.none() | st.tuples(TIMES, TIMES),
    foremost=PAIRS,
    given_up=st.frozensets(PARTITIONS, max_size=3),
    losses=st.lists(st.builds(DataLoss, PARTITIONS, MAYBE, MAYBE), max_size=3).map(tuple),
    counted_twice=PAIRS,
    late=st.dictionaries(COUNTS, COUNTS, max_size=3),
    closed=st.dictionaries(st.tuples(COUNTS, VERDICTS), COUNTS, max_size=3),
    revised=st.dictionaries(COUNTS, COUNTS, max_size=3),
    alarms=st.frozensets(COUNTS, max_size=3),
)
RECORDS = st.one_of(
    st.tuples(st.just(PositionKey()), POSITIONS),
    st.tuples(
        st.builds(SourcesKey, TOPICS, PLACES),
        st.builds(SourceBlock, st.sampled_from(["", "ab" * 16]), st.integers(0, 2**32 - 1), blocks(4)),
    ),
    st.tuples(st.builds(StreamKey, STREAMS), STATUSES),
    st.tuples(st.builds(EventTimeKey, STREAMS, TOPICS, PLACES), blocks(2)),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES), TALLIES),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES, SEGMENTS), TALLIES),
    st.tuples(st.builds(ExamplesKey, STREAMS, SCHEMES, PANES), EXAMPLES),
    st.tuples(st.builds(PublishedKey, STREAMS, PANES), RESULTS),
    st.tuples(st.builds(HistoryKey, STREAMS, PLACES), HISTORIES),
)

HOUR_MS = 3_600_000
START_MS = 1_762_128_000_000
NULL = -(2**63)
IDENTITY = "0123456789abcdef" * 4
PANE = Window(HOUR_MS, START_MS)
SCHEME = f"{IDENTITY[:16]}-89abcdef"
RECALL = VerdictMemory((False, True), 2.5, {("country", "de"): (False,)})
RESULT = (
    '{"result":{"stream":"resnet18-fc1","window":"1h","start":"2025-11-03T00:00:00Z",'
    '"end":"2025-11-03T01:00:00Z","revision":2,"count":320,"verdict":"drift","js_divergence":0.125,'
    '"js_distance":0.375,"noise_floor":0.03125,"js_excess":0.09375,"js_p_value":1e-9,"mean_shift":'
    '{"t2":80.0,"p_value":1e-12,"excess":0.25,"centroid_distance":1.5,"centroid_p_value":1e-10,'
    '"components":[0.75,0.25]},"p_value":1e-11,"calibrated":true,"novelty":0.0625,"slow_drift":'
    '{"statistic":4.0,"limit":6.5},"baseline":"sha256:' + IDENTITY + '",'
    '"incomplete":[],"incomplete_reason":null,"events_lost":false,"counted_twice":true,"clusters":[{"id":0,"count":80,"share":0.25,"baseline_share":0.5,'
    '"js_contribution":0.0625},{"id":1,"count":240,"share":0.75,"baseline_share":0.5,"js_contribution":0.0625}],'
    '"movers":[0,1],"examples":[{"cluster":1,"event_ids":["0193f3a2","köln"]}],"segments":[{"key":"country",'
    '"value":"other","count":3,"js_divergence":null,"js_excess":null,"mean_shift_excess":null,"p_value":null,'
    '"adjusted_p_value":null,"calibrated":null,"verdict":"insufficient"}]},"baseline_counts":[500,500],'
    '"published_ms":1762131600000,"superseded":"incomplete","slow_limit":6.5,"recall":{"recent":[false,true],'
    '"slow":2.5,"segments":[{"key":"country","value":"de","recent":[false]}]}}'
)
HISTORY = (
    '{"baseline":"sha256:' + IDENTITY + '","end_ms":1762131600000,"recall":{"recent":[false,true],'
    '"slow":2.5,"segments":[{"key":"country","value":"de","recent":[false]}]},'
    '"warm_up":[1760918400000,1762128000000],"components":2,"clean":{"windows":24,"chi_squared":70.5,'
    '"products":"AAAAAAAAPEAAAAAAAADgvwAAAAAAAOC/AAAAAAAAOUA="},"segments":[{"key":"country","value":"de",'
    '"clean":{"windows":2,"chi_squared":3.5,"products":"AAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACEA="}}]}'
)
POSITION = (
    '{"shards":16,"offset":4711,"log_ms":1762128000005,"writer":"driftgauge-windows-1",'
    '"producers":[{"producer":"driftgauge-0","epoch":3,"commit":99,"log_ms":1762128000004}],'
    '"gaps":1,"overlaps":0,"orphans":0}'
)
STATUS = (
    '{"watermark_ms":1762128000000,"final_ms":null,"frontier":[1762131600000,1762128000009],'
    '"foremost":[[1762128000000,1762128000007],[1762131600000,1762128000009]],'
    '"given_up":[{"topic":"embeddings","partition":3},{"topic":"embeddings","partition":7}],'
    '"losses":[{"topic":"embeddings","partition":3,"from_ms":null,"to_ms":1762128000000}],'
    '"counted_twice":[[1762128000000,1762128000001]],"late":[{"size_ms":3600000,"count":12}],'
    '"closed":[{"size_ms":3600000,"count":2,"verdict":"drift"},{"size_ms":3600000,"count":5,"verdict":"ok"}],'
    '"revised":[{"size_ms":3600000,"count":1}],"alarms":[3600000]}'
)
EXAMPLE = '[[0,51966,"0193f3a2"],[0,48879000,"köln"],[7,12,"0193f3a3"]]'
GOLDEN = {
    "pane": (
        PaneKey("resnet18-fc1", SCHEME, PANE),
        np.array([0, 7, 300, 3, -2, 2**33], np.int64),
        b"pane/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000",
        "01  02 04000000 02000000 0000 0700 2c01 0300 feffffffffffffff 0000000002000000",
    ),
    "segment": (
        PaneKey("resnet18-fc1", SCHEME, PANE, ("city/country", "köln, de")),
        np.array([1, 0, 0, 0, -5, 6], np.int64),
        b"segment/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000/city%2Fcountry/k%C3%B6ln%2C%20de",
        "01  01 04000000 02000000 01 00 00 00 fbffffffffffffff 0600000000000000",
    ),
    "examples": (
        ExamplesKey("resnet18-fc1", SCHEME, PANE),
        (Example(0, 51_966, "0193f3a2"), Example(0, 48_879_000, "köln"), Example(7, 12, "0193f3a3")),
        b"examples/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000",
        "01" + EXAMPLE.encode().hex(),
    ),
    "published": (
        PublishedKey("resnet18-fc1", PANE),
        build_result(
            PANE,
            (80, 240),
            stream="resnet18-fc1",
            revision=2,
            baseline_counts=(500, 500),
            baseline_id=f"sha256:{IDENTITY}",
            published_ms=START_MS + HOUR_MS,
            score=Score(
                js_divergence=0.125,
                js_distance=0.375,
                contributions=np.array([0.0625, 0.0625]),
                noise_floor=0.03125,
                js_excess=0.09375,
                js_p_value=1e-9,
                mean_shift=MeanShift(
                    t2=80.0,
                    p_value=1e-12,
                    centroid_distance=1.5,
                    centroid_p_value=1e-10,
                    excess=0.25,
                    shares=np.array([0.75, 0.25]),
                ),
                p_value=1e-11,
                novelty=0.0625,
                calibrated=True,
            ),
            verdict=Verdict.DRIFT,
            superseded=Verdict.INCOMPLETE,
            slow_drift=4.0,
            segments=(build_small_segment("other"),),
            examples={1: ("0193f3a2", "köln")},
            memory=RECALL,
            counted_twice=True,
        ),
        b"published/resnet18-fc1/3600000/1762128000000",
        "01" + RESULT.encode().hex(),
    ),
    "history": (
        HistoryKey("resnet18-fc1", HOUR_MS),
        VerdictHistory(
            baseline_id=f"sha256:{IDENTITY}",
            end_ms=START_MS + HOUR_MS,
            memory=RECALL,
            warm_up=(START_MS - 14 * 24 * HOUR_MS, START_MS),
            clean=OverdispersionEstimator(24, 70.5, np.array([[28.0, -0.5], [-0.5, 25.0]])),
            segments={("country", "de"): OverdispersionEstimator(2, 3.5, np.diag([2.0, 3.0]))},
        ),
        b"history/resnet18-fc1/3600000",
        "01" + HISTORY.encode().hex(),
    ),
    "position": (
        PositionKey(),
        ShardPosition(
            shards=16,
            offset=4_711,
            log_ms=START_MS + 5,
            writer="driftgauge-windows-1",
            producers={("driftgauge-0", 3): (99, START_MS + 4)},
            gaps=1,
        ),
        b"position",
        "01" + POSITION.encode().hex(),
    ),
    "sources": (
        SourcesKey("embeddings", 1),
        SourceBlock("00ff", 66, np.array([[900, START_MS, START_MS + 9, START_MS], [-1, 0, NULL, 1]])),
        b"sources/embeddings/1",
        "01  42000000 04 30306666  02 04"
        "8403000000000000 007403479a010000 097403479a010000 007403479a010000"
        "ffffffffffffffff 0000000000000000 0000000000000080 0100000000000000",
    ),
    "stream": (
        StreamKey("resnet18-fc1"),
        StreamStatus(
            watermark_ms=START_MS,
            frontier=(START_MS + HOUR_MS, START_MS + 9),
            foremost=((START_MS, START_MS + 7), (START_MS + HOUR_MS, START_MS + 9)),
            given_up=frozenset({("embeddings", 7), ("embeddings", 3)}),
            losses=(DataLoss(("embeddings", 3), None, START_MS),),
            counted_twice=((START_MS, START_MS + 1),),
            late={HOUR_MS: 12},
            closed={(HOUR_MS, Verdict.OK): 5, (HOUR_MS, Verdict.DRIFT): 2},
            revised={HOUR_MS: 1},
            alarms=frozenset({HOUR_MS}),
        ),
        b"stream/resnet18-fc1",
        "01" + STATUS.encode().hex(),
    ),
    "time": (
        EventTimeKey("resnet18-fc1", "embeddings", 1),
        np.array([[START_MS, START_MS + 9], [NULL, NULL]]),
        b"time/resnet18-fc1/embeddings/1",
        "01  02 02 007403479a010000 097403479a010000 0000000000000080 0000000000000080",
    ),
}
# Their values are JSON behind the version.
JSON = {"position": POSITION, "stream": STATUS, "examples": EXAMPLE, "published": RESULT, "history": HISTORY}
RECORD = pytest.mark.parametrize(
    ("key", "value"),
    [(raw, bytes.fromhex(text)) for _, _, raw, text in GOLDEN.values()],
    ids=GOLDEN.keys(),
)


@settings(max_examples=examples(500))
@given(RECORDS)
def test_a_record_survives(record):
    key, value = record
    read_key, read_value = decode(encode_key(key), encode_value(value))
    assert read_key == key
    assert type(read_value) is type(value)
    assert plain(read_value) == plain(value)
    assert encode_value(read_value) == encode_value(value)


@given(RECORDS)
def test_a_tombstone_keeps_its_key(record):
    key, _ = record
    assert decode(encode_key(key), None) == (key, None)


@pytest.mark.parametrize(("key", "value", "raw_key", "text"), GOLDEN.values(), ids=GOLDEN.keys())
def test_the_bytes_stay_as_they_are(key, value, raw_key, text):
    assert encode_key(key) == raw_key
    assert encode_value(value).hex() == bytes.fromhex(text).hex()
    read_key, read_value = decode(raw_key, bytes.fromhex(text))
    assert (read_key, plain(read_value)) == (key, plain(value))


@pytest.mark.parametrize("kind", GOLDEN)
def test_the_document_shows_these_bytes(kind):
    _, _, key, text = GOLDEN[kind]
    document = (SCHEMAS / "changelog.v1.md").read_text("utf-8")
    assert f"`{key.decode()}`" in document
    shown = text[:2] + JSON[kind] if kind in JSON else "".join(text.split())
    assert shown in "".join(document.split())


def test_order_of_sets_and_mappings_does_not_show():
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
def test_counts_take_the_fewest_bytes_that_hold_the_highest(highest, size):
    raw = encode_value(np.array([1, highest], np.int64))
    assert len(raw) == 1 + 1 + 4 + 4 + 2 * size
    assert decode(b"pane/s/ab/60000/0", raw)[1].tolist() == [1, highest]


@pytest.mark.parametrize("wide", [2**32, LAST, -1, -LAST - 1])
def test_from_the_first_number_on_that_is_negative_or_too_large_eight_bytes_are_taken(wide):
    raw = encode_value(np.array([1, 2, wide, 3], np.int64))
    assert len(raw) == 1 + 1 + 4 + 4 + 2 * 1 + 2 * 8
    assert decode(b"pane/s/ab/60000/0", raw)[1].tolist() == [1, 2, wide, 3]


def test_a_tally_that_was_read_is_one_s_own():
    (_, values) = decode(b"pane/s/ab/60000/0", encode_value(np.array([1, 2, -3], np.int64)))
    values += 1
    assert values.tolist() == [2, 3, -2]


def test_a_tally_need_not_lie_side_by_side():
    values = np.array([0, 9, 1, 9, -2], dtype=np.int64)[::2]
    assert encode_value(values) == encode_value(values.copy())


@given(SEGMENTS)
def test_the_key_of_a_segment_is_ascii_without_a_slash_of_its_own(segment):
    raw = encode_key(PaneKey("s", "ab", Window(60_000, 0), segment))
    assert raw.isascii()
    assert raw.count(b"/") == 6
    assert decode(raw, None)[0].segment == segment


@RECORD
@pytest.mark.parametrize("later", [1, 200])
def test_later_version_says_what_to_do(key, value, later):
    with pytest.raises(StateError) as caught:
        decode(key, bytes([value[0] + later]) + value[1:])
    assert str(caught.value) == (
        f"the changelog record {key.decode()} is of version {1 + later}, and this version of driftgauge "
        "reads 1: a later version of driftgauge wrote it; update this replica"
    )


def test_earlier_version_says_what_to_do():
    with pytest.raises(StateError) as caught:
        decode(b"position", b"\0")
    assert str(caught.value) == (
        "the changelog record position is of version 0, and this version of driftgauge reads 1: an earlier "
        "version of driftgauge wrote it; run that version, or use another topics.internal"
    )


@pytest.mark.parametrize("key", [b"", b"secret/1", b"panes/s/ab/0", b"Pane/s/ab/0", b"/", b"\xff\xfe"])
@pytest.mark.parametrize("value", [b"\x02", b"", None])
def test_unknown_kind_is_skipped(key, value):
    assert decode(key, value) is None


@pytest.mark.parametrize(
    "key",
    [
        b"position/",
        b"position/0",
        b"sources/embeddings",
        b"sources/embeddings/01",
        b"sources/em beddings/1",
        b"sources//1",
        b"stream/",
        b"stream/s/0",
        b"time/s/embeddings",
        b"time/s/embeddings/-1",
        b"time/s/embeddings/1/2",
        b"pane",
        b"pane/s/ab/60000",
        b"pane/s/ab/60000/0/0",
        b"pane/s/ab/60000/00",
        b"pane/s/ab/60000/+1",
        b"pane/s/ab/60000/-1",
        b"pane/s/ab/60000/1_0",
        b"pane/s/ab/60000/0\n",
        b"pane/s//60000/0",
        b"pane//ab/60000/0",
        b"pane/s s/ab/60000/0",
        b"pane/s\xc3\xa4/ab/60000/0",
        b"segment/s/ab/60000/0",
        b"segment/s/ab/60000/0/country",
        b"segment/s/ab/60000/0/country/de/fr",
        b"segment/s/ab/60000/0/country/d e",
        b"segment/s/ab/60000/0/country/d%",
        b"segment/s/ab/60000/0/country/d%zz",
        b"segment/s/ab/60000/0/country/d%65",
        b"segment/s/ab/60000/0/country/%c3%a4",
        b"segment/s/ab/60000/0/country/%FF",
        b"segment/s/ab/60000/0/%2f/de",
        b"examples/s/ab/60000",
        b"published/s/1d/0",
        b"history/s",
        b"history/s/1h",
        b"history/s/60000/0",
    ],
)
@pytest.mark.parametrize("value", [b"\x01", None])
def test_malformed_key_names_its_kind(key, value):
    kind = key.decode("latin-1").split("/")[0]
    with pytest.raises(
        StateError, match=f"^a changelog record of kind {kind} is malformed .*: it is damaged"
    ):
        decode(key, value)


@RECORD
def test_value_must_be_whole(key, value):
    for cut in range(len(value)):
        with pytest.raises(StateError, match=r" is malformed \(.*\): it is damaged"):
            decode(key, value[:cut])


@RECORD
def test_value_must_have_nothing_left_over(key, value):
    with pytest.raises(StateError, match=r" is malformed \(.*\): it is damaged"):
        decode(key, value + b"\0")


@pytest.mark.parametrize(
    ("kind", "at", "byte"),
    [
        ("pane", 1, 0),  # no such size of counts
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
def test_a_value_that_cannot_be_is_malformed(kind, at, byte):
    _, _, key, text = GOLDEN[kind]
    value = bytearray.fromhex(text)
    assert value[at] != byte
    value[at] = byte
    with pytest.raises(StateError, match=rf"{kind}/.* is malformed \(.*\): it is damaged"):
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
def test_a_text_that_says_something_else_is_malformed(kind, piece, other):
    text = JSON[kind]
    assert piece in text
    _, _, key, golden = GOLDEN[kind]
    version = bytes.fromhex(golden[:2])
    decode(key, version + text.encode())
    with pytest.raises(StateError, match=r" is malformed \(.*\): it is damaged"):
        decode(key, version + text.replace(piece, other, 1).encode())


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


@pytest.mark.parametrize("shape", [(BLOCK + 1, 4), (2, 1), (2, 0)])
def test_block_of_another_shape_is_malformed(shape):
    values = np.zeros(shape, np.int64)
    for key, value in ((b"time/s/t/0", values), (b"sources/t/0", SourceBlock("", 3, values))):
        with pytest.raises(StateError, match="it has no such shape"):
            decode(key, encode_value(value))


def test_columns_of_later_versions_are_ignored():
    values = np.arange(21).reshape(3, 7)
    _, times = decode(b"time/s/t/0", encode_value(values))
    assert times.tolist() == [[0, 1], [7, 8], [14, 15]]
    _, block = decode(b"sources/t/0", encode_value(SourceBlock("", 3, values)))
    assert block.values.tolist() == [[0, 1, 2, 3], [7, 8, 9, 10], [14, 15, 16, 17]]
    for read in (times, block.values):
        assert read.flags.owndata
        assert read.flags.writeable


@pytest.mark.parametrize("clusters", [[], [{"count": 0}, {"count": 0}]])
def test_a_result_without_events_is_malformed(clusters):
    document = json.loads(RESULT)
    its = document["result"]["clusters"]
    document["result"]["clusters"] = [each | change for each, change in zip(its, clusters, strict=False)]
    document["baseline_counts"] = document["baseline_counts"][: len(clusters)]
    with pytest.raises(StateError, match=r"published/.* is malformed \(.*\): it is damaged"):
        decode(GOLDEN["published"][2], b"\x01" + json.dumps(document).encode())


def test_a_history_without_a_warm_up_keeps_no_matrix():
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
def test_any_bytes_are_read_or_are_a_state_error(kind, raw):
    key = GOLDEN[kind][2]
    try:
        _, value = decode(key, raw)
    except StateError:
        return
    assert plain(decode(key, encode_value(value))[1]) == plain(value)


def encoded(*numbers):
    """A matrix as a history has it."""
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
def test_a_history_that_nothing_can_leave_behind_is_malformed(place, change):
    document = json.loads(HISTORY)
    part = document
    for step in place:
        part = part[step]
    part |= change
    with pytest.raises(StateError, match=r"history/.* is malformed \(.*\): it is damaged"):
        decode(b"history/s/3600000", b"\x01" + json.dumps(document).encode())


@pytest.mark.parametrize(
    ("kind", "place"), [("history", ()), ("history", ("recall",)), ("published", ("recall",))]
)
def test_a_segment_is_kept_once(kind, place):
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
            with pytest.raises(StateError, match=rf"{kind}/.* is malformed \(.*\): it is damaged"):
                decode(key, value)
