"""Tests of `driftgauge.events.decoder`."""

import json
from itertools import groupby

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.api import ParsedEvent, parse_event
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.columns import RECORD_ID, default_id
from driftgauge.events.decoder import Decoder
from driftgauge.events.reader import Reader
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rejection import EventError, Reason, SchemaPending
from driftgauge.events.vectors import F32
from tests.builders.events import CONTRACTS, INVALID, LATEST_MS, VALID, build_records, decode
from tests.events.mapped import Row
from tests.events.test_fast_paths import near_events
from tests.examples import examples

ANYTHING = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([path.read_bytes() for path in [*VALID, *INVALID]]),
    near_events(),
)


def event(vector, **fields):
    document = {"stream": "resnet18-fc1", "timestamp": 1, "embedding": [float(x) for x in vector], **fields}
    return json.dumps(document).encode()


@settings(max_examples=examples(80))
@given(ANYTHING.filter(lambda raw: raw is not None))
@example(event([1, 2, 3, 4], segments={"country": "de"}))
def test_parse_event_agrees_with_decoder(raw):
    decoded = decode(raw)
    parsed = parse_event(raw)
    if decoded.batches:
        (batch,) = decoded.batches
        assert isinstance(parsed, ParsedEvent)
        assert (parsed.stream, parsed.time_ms) == (batch.stream, batch.time_ms[0])
        assert parsed.vector.tobytes() == batch.vectors[0].tobytes()
        assert parsed.segments == (batch.segments[0] if batch.segments else {})
    elif decoded.rejections[0].reason in {Reason.UNDECODABLE, Reason.INVALID, Reason.NON_FINITE}:
        assert parsed.reason is decoded.rejections[0].reason


DIMENSIONS = {"resnet18-fc1": 4, "clip-text": 2, "nobody": 3}
STREAMS = st.sampled_from([*DIMENSIONS, None])
NAMES = st.none() | st.text(max_size=3)
SEGMENTS = st.none() | st.dictionaries(st.sampled_from(["country", "device", ""]), st.text(max_size=2))


@given(st.lists(st.tuples(STREAMS, st.integers(0, LATEST_MS), st.booleans(), NAMES, SEGMENTS)))
def test_columns_of_mixed_streams_stay_aligned(plan):
    values = [
        None
        if stream is None
        else event(
            [row + 1 if is_sound else 1e39] * DIMENSIONS[stream],
            stream=stream,
            timestamp=time_ms,
            event_id=name,
            segments=segments,
        )
        for row, (stream, time_ms, is_sound, name, segments) in enumerate(plan)
    ]
    decoded = decode(*values)
    known = {stream: [] for stream in ("resnet18-fc1", "clip-text", "nobody", None)}
    for row, (stream, _, is_sound, *_) in enumerate(plan):
        known[stream] += [row] if is_sound else []
    for batch in decoded.batches:
        rows = known[batch.stream]
        assert batch.row.tolist() == rows
        assert batch.partition.tolist() == [row % 3 for row in rows]
        assert batch.offset.tolist() == [row + 100 for row in rows]
        assert batch.time_ms.tolist() == [plan[row][1] for row in rows]
        assert batch.vectors.tolist() == [[row + 1.0] * DIMENSIONS[batch.stream] for row in rows]
        names, segments = ([plan[row][column] for row in rows] for column in (3, 4))
        assert list(batch.event_ids) == names or not (batch.event_ids or any(names))
        assert list(batch.segments) == segments or not (batch.segments or any(segments))
    assert {rejection.row: rejection.stream for rejection in decoded.rejections} == {
        row: stream if stream in {"resnet18-fc1", "clip-text"} else None
        for row, (stream, _, is_sound, *_) in enumerate(plan)
        if stream in {"nobody", None} or not is_sound
    }


def test_event_may_be_ahead_of_its_record_and_behind_it_as_far_as_allowed():
    values = [event([1, 2, 3, 4], timestamp=LATEST_MS)] * 6 + [
        event([1, 2, 3, 4], timestamp=LATEST_MS // 1_000)
    ]
    decoder = Decoder(CONTRACTS, lead_ms=300, age_ms=800)
    credible_ms = LATEST_MS - np.array([-800, -500, 0, 300, 301, -801, 0])
    decoded = decoder.decode(build_records(values, credible_ms))
    (batch,) = decoded.batches
    assert batch.row.tolist() == [0, 1, 2, 3]
    assert set(batch.time_ms.tolist()) == {LATEST_MS}
    assert batch.credible_ms.tolist() == [LATEST_MS, LATEST_MS, LATEST_MS, LATEST_MS - 300]
    behind = "behind its record's time or the clock, 800ms are allowed (allowed_age)"
    assert [
        (each.row, each.reason, each.detail.removeprefix("timestamp: ")) for each in decoded.rejections
    ] == [
        (4, "future", "301 ms ahead of its record's time or of the clock, 300ms are allowed (allowed_lead)"),
        (5, "past", f"801 ms {behind}"),
        (6, "past", f"56 years {behind}; the numbers look like seconds: the contract is in milliseconds"),
    ]


def test_first_pattern_holds_for_all_names_without_an_entry():
    contracts = [
        BaselineContract(stream, baseline, 4, None, DistanceMetric.EUCLIDEAN, from_ms)
        for stream, baseline, from_ms in (
            ("clip-a*", "a", 0),
            ("clip-*", "old", 0),
            ("clip-*", "new", 1),
            ("clip-own", "own", 0),
        )
    ]
    decoder = Decoder(contracts, lead_ms=0)
    names = [*(f"clip-{number}" for number in range(50)), "clip-ab", "clip-own", "text"]
    decoded = decoder.decode(build_records([event([1, 2, 3, 4], stream=name) for name in names]))
    others = dict.fromkeys(names[:50], "new")
    assert {batch.stream: batch.baseline for batch in decoded.batches} == {
        **others,
        "clip-ab": "a",
        "clip-own": "own",
    }
    assert [(each.row, each.reason, each.stream, each.detail) for each in decoded.rejections] == [
        (52, "unknown_stream", None, "stream: 'text' is not configured")
    ]


SOUND = event([1, 2, 3, 4])
ALL = BaselineContract("*", "all", 4, None, DistanceMetric.EUCLIDEAN)
# Only the second baseline has a metric for which a vector of zeros is none.
MOVED = (
    BaselineContract("moved", "second", 2, "v2", DistanceMetric.COSINE, 1_000),
    BaselineContract("moved", "first", 4, "v1", DistanceMetric.EUCLIDEAN),
)


def moved(number, dimension, time_ms, version):
    return event([number] * dimension, stream="moved", timestamp=time_ms, model_version=version)


@pytest.mark.parametrize(
    ("decoder", "values", "accepted", "refused"),
    [
        pytest.param(
            Decoder([ALL], lead_ms=0),
            [event([1], stream=name) for name in ("clip", "clip one", "*", "x" * 129)],
            {},
            [("wrong_dimension", "clip"), *[("invalid", None)] * 3],
            id="a stream that matches is named only by a valid name",
        ),
        pytest.param(
            Decoder(CONTRACTS, lead_ms=0, largest_bytes=len(SOUND)),
            [SOUND, None, SOUND + b" ", b"[" * 100_000],
            {"images": [0]},
            [("undecodable", None), ("too_large", None), ("too_large", None)],
            id="larger records are refused unread",
        ),
        pytest.param(
            Decoder(MOVED, lead_ms=0),
            [
                *(moved(1, 4, 999, "v1"), moved(1, 2, 1_000, "v2"), moved(0, 4, 999, None)),
                *(moved(1, 2, 1_000, None), moved(1, 4, 999, "v2"), moved(1, 2, 1_000, "v1")),
                *(moved(1, 2, 999, "v1"), moved(0, 4, 1_000, "v2"), moved(0, 2, 999, "v2")),
                moved(0, 2, 1_000, "v2"),
            ],
            {"first": [0, 2], "second": [1, 3]},
            [
                (reason, "moved")
                for reason in (
                    *("wrong_model", "wrong_model", "wrong_dimension", "wrong_dimension"),
                    *("wrong_model", "zero_vector"),
                )
            ],
            id="an event is checked by the baseline in force at its time",
        ),
        pytest.param(
            Decoder(CONTRACTS, lead_ms=0),
            [
                event([1]),
                event([1], stream="nobody"),
                event([True, 1, 1, 1], timestamp=None),
                event([1], stream=["x"]),
            ],
            {},
            [
                ("wrong_dimension", "resnet18-fc1"),
                ("unknown_stream", None),
                ("invalid", "resnet18-fc1"),
                ("invalid", None),
            ],
            id="only a configured stream is named",
        ),
    ],
)
def test_events_are_refused_with_their_stream(decoder, values, accepted, refused):
    decoded = decoder.decode(build_records(values))
    assert {batch.baseline: batch.row.tolist() for batch in decoded.batches} == accepted
    assert [(each.reason, each.stream) for each in decoded.rejections] == refused


def as_columns(row, event):
    return {"row": [row], "numbers": [None], **{name: [entry] for name, entry in event._asdict().items()}}


class Script(Reader):
    """A reader whose records hold their outcome as a word; remembers the offsets of each run."""

    unit, stream = "ms", "images"

    def __init__(self, ids=()):
        self.ids, self.runs = dict(ids), []

    def read(self, records, first, columns, largest_bytes=0):
        self.runs.append([record.offset() for record in records])
        for row, record in enumerate(records, first):
            event = Row("images", 1, bytes(8), F32, self.ids.get(record.offset()), None, None, None)
            match record.value():
                case b"event" | b"events" as word:
                    for _ in word[4:]:
                        columns.add(as_columns(row, event))
                case b"filtered":
                    columns.filtered.append(row)
                case b"refused":
                    columns.refuse(row, EventError(Reason.INVALID, "refused", "images"))
                case b"pending":
                    columns.refuse(row, SchemaPending())
                case b"broken":
                    columns.refuse(row, RecursionError("too deep"))


OUTCOMES = ["event", "event", "events", "filtered", "refused", "pending", "broken"]
IDS = [RECORD_ID, "own", "", None]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.sampled_from(OUTCOMES), st.sampled_from(IDS))
    )
)
def test_outcomes_of_all_topics_keep_the_order_of_their_records(plan):
    reader = Script({7 * row: event_id for row, (*_, event_id) in enumerate(plan)})
    raw = [
        StoredRecord(outcome.encode(), topic, partition, 7 * row)
        for row, (topic, partition, outcome, _) in enumerate(plan)
    ]
    codes = np.array([2 * partition + (topic == "b") for topic, partition, *_ in plan], np.int32)
    contract = BaselineContract("images", "first", 2, None, DistanceMetric.EUCLIDEAN)
    decoder = Decoder([contract], lead_ms=0, readers={"a": reader, "b": reader})
    decoded = decoder.decode(Records(raw, codes, 7 * np.arange(len(raw)), np.full(len(raw), 1)))
    waiting, expected = set(), {"event": [], "filtered": [], "refused": [], "pending": []}
    for row, (topic, partition, outcome, _) in enumerate(plan):
        if outcome == "pending" or (topic, partition) in waiting:
            waiting.add((topic, partition))
            expected["pending"].append(row)
        elif outcome == "events":
            expected["event"] += [row, row]
        else:
            expected["refused" if outcome == "broken" else outcome].append(row)
    assert {
        "event": [row for batch in decoded.batches for row in batch.row.tolist()],
        "filtered": list(decoded.filtered),
        "refused": [rejection.row for rejection in decoded.rejections],
        "pending": list(decoded.pending),
    } == expected
    # Events without an id of their own are named by their records.
    ids = [default_id(raw[row]) if plan[row][3] is RECORD_ID else plan[row][3] for row in expected["event"]]
    assert [event_id for batch in decoded.batches for event_id in batch.event_ids] == (
        ids if any(ids) else []
    )
    runs = [[7 * row for row in run] for _, run in groupby(range(len(plan)), lambda row: plan[row][0])]
    assert reader.runs == runs


def test_record_on_which_the_reader_fails_is_undecodable_and_logged_once(caplog):
    contract = BaselineContract("images", "first", 2, None, DistanceMetric.EUCLIDEAN)
    decoder = Decoder([contract], lead_ms=0, readers={"a": Script(), "b": Script()})
    raw = [
        StoredRecord(b"event" if offset == 1 else b"broken", topic, 3, offset)
        for topic in "ab"
        for offset in range(3)
    ]
    for _ in range(2):
        decoded = decoder.decode(
            Records(raw, np.zeros(len(raw), np.int32), np.arange(len(raw)), np.full(len(raw), 1))
        )
        assert [each.reason for each in decoded.rejections] == [Reason.UNDECODABLE] * 4
        assert "RecursionError: too deep" in decoded.rejections[0].detail
        assert sum(map(len, decoded.batches)) == 2
    assert [each.record for each in caplog.records] == ["a[3]@0", "b[3]@0"]
