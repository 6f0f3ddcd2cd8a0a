"""Tests of `driftgauge.events.decoder`."""

import json
from itertools import groupby

import numpy as np
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


@given(
    st.lists(
        st.tuples(st.sampled_from(["resnet18-fc1", "clip-text", "nobody", None]), st.integers(0, LATEST_MS))
    )
)
def test_columns_of_mixed_streams_stay_aligned(plan):
    dimensions = {"resnet18-fc1": 4, "clip-text": 2, "nobody": 3}
    values = [
        None if stream is None else event([row + 1] * dimensions[stream], stream=stream, timestamp=time_ms)
        for row, (stream, time_ms) in enumerate(plan)
    ]
    decoded = decode(*values)
    for batch in decoded.batches:
        rows = [row for row, (stream, _) in enumerate(plan) if stream == batch.stream]
        assert batch.row.tolist() == rows
        assert batch.partition.tolist() == [row % 3 for row in rows]
        assert batch.offset.tolist() == [row + 100 for row in rows]
        assert batch.time_ms.tolist() == [plan[row][1] for row in rows]
        assert batch.vectors.tolist() == [[row + 1.0] * dimensions[batch.stream] for row in rows]
    assert {rejection.row: rejection.stream for rejection in decoded.rejections} == {
        row: None for row, (stream, _) in enumerate(plan) if stream in (None, "nobody")
    }


NAMES = st.none() | st.text(max_size=3)
SEGMENTS = st.none() | st.dictionaries(st.sampled_from(["country", "device", ""]), st.text(max_size=2))


@given(plan=st.lists(st.tuples(st.booleans(), NAMES, SEGMENTS), min_size=1))
def test_event_ids_and_segments_align_with_rows(plan):
    values = [
        event([row, 0 if is_sound else 1e39, 0, 0], event_id=name, segments=segments)
        for row, (is_sound, name, segments) in enumerate(plan)
    ]
    decoded = decode(*values)
    for batch in decoded.batches:
        assert batch.row.tolist() == [row for row, (is_sound, _, _) in enumerate(plan) if is_sound]
        names = [plan[row][1] for row in batch.row.tolist()]
        segments = [plan[row][2] for row in batch.row.tolist()]
        assert list(batch.event_ids) == names or not (batch.event_ids or any(names))
        assert list(batch.segments) == segments or not (batch.segments or any(segments))
    assert sum(map(len, decoded.batches)) == sum(is_sound for is_sound, _, _ in plan)


def test_event_ids_and_segments_are_empty_without_any():
    (batch,) = decode(event([1, 2, 3, 4]), event([1, 2, 3, 4], event_id="", segments={})).batches
    assert (batch.event_ids, batch.segments) == ((), ())


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


def test_refusal_names_stream_that_matches_only_by_a_valid_name():
    decoder = Decoder([BaselineContract("*", "all", 4, None, DistanceMetric.EUCLIDEAN)], lead_ms=0)
    values = [event([1], stream=name) for name in ("clip", "clip one", "*", "x" * 129)]
    decoded = decoder.decode(build_records(values))
    assert [(each.reason, each.stream) for each in decoded.rejections] == [
        ("wrong_dimension", "clip"),
        *[("invalid", None)] * 3,
    ]


def test_larger_records_are_refused_unread():
    values = [event([1, 2, 3, 4]), None, event([1, 2, 3, 4]) + b" ", b"[" * 100_000]
    decoder = Decoder(CONTRACTS, lead_ms=0, largest_bytes=len(values[0]))
    decoded = decoder.decode(build_records(values))
    (batch,) = decoded.batches
    assert batch.row.tolist() == [0]
    assert [(each.row, each.reason) for each in decoded.rejections] == [
        (1, Reason.UNDECODABLE),
        (2, Reason.TOO_LARGE),
        (3, Reason.TOO_LARGE),
    ]
    assert decoded.rejections[2].detail.startswith("value: 100,000 bytes, ")


CUT_MS = 1_000
MOVED = (
    BaselineContract("moved", "second", 2, "v2", DistanceMetric.COSINE, CUT_MS),
    BaselineContract("moved", "first", 4, "v1", DistanceMetric.EUCLIDEAN),
)


@given(plan=st.lists(st.tuples(st.sampled_from([999, 1_000]), st.sampled_from([2, 4]), st.booleans())))
def test_batch_is_checked_by_metric_of_its_baseline(plan):
    values = [
        event([float(is_long)] * dimension, stream="moved", timestamp=time_ms)
        for time_ms, dimension, is_long in plan
    ]
    decoded = decode(*values, contracts=MOVED)
    first = [row for row, (time_ms, dimension, _) in enumerate(plan) if (time_ms, dimension) == (999, 4)]
    second = [row for row, (*at, is_long) in enumerate(plan) if at == [1_000, 2] and is_long]
    found = {batch.baseline: batch.row.tolist() for batch in decoded.batches}
    assert found == {name: rows for name, rows in (("first", first), ("second", second)) if rows}
    assert len(decoded.rejections) == len(plan) - len(first) - len(second)
    for rejection in decoded.rejections:
        time_ms, dimension, _ = plan[rejection.row]
        is_fit = (time_ms, dimension) == (1_000, 2)
        assert rejection.reason is (Reason.ZERO_VECTOR if is_fit else Reason.WRONG_DIMENSION)


def test_event_is_checked_by_the_baseline_in_force_at_its_time():
    values = [
        event([1.0] * dimension, stream="moved", timestamp=time_ms, model_version=version)
        for time_ms, dimension, version in [
            *[(999, 4, "v1"), (1_000, 2, "v2"), (999, 4, None), (1_000, 2, None)],
            *[(999, 4, "v2"), (1_000, 2, "v1"), (999, 2, "v1"), (1_000, 4, "v2"), (999, 2, "v2")],
        ]
    ]
    decoded = decode(*values, contracts=MOVED)
    assert {batch.baseline: batch.row.tolist() for batch in decoded.batches} == {
        "first": [0, 2],
        "second": [1, 3],
    }
    assert [rejection.reason for rejection in decoded.rejections] == [
        *[Reason.WRONG_MODEL, Reason.WRONG_MODEL],
        *[Reason.WRONG_DIMENSION, Reason.WRONG_DIMENSION, Reason.WRONG_MODEL],
    ]


def test_rejection_names_only_configured_stream():
    decoded = decode(
        event([1]),
        event([1], stream="nobody"),
        event([True, 1, 1, 1], timestamp=None),
        event([1], stream=["x"]),
    )
    assert [rejection.stream for rejection in decoded.rejections] == [
        "resnet18-fc1",
        None,
        "resnet18-fc1",
        None,
    ]


def as_columns(row, event):
    return {"row": [row], "numbers": [None], **{name: [entry] for name, entry in event._asdict().items()}}


class Script(Reader):
    """A reader whose records hold their outcome as a word; remembers the offsets of each run."""

    unit, stream = "ms", "images"

    def __init__(self):
        self.runs = []

    def read(self, records, first, columns, largest_bytes=0):
        self.runs.append([record.offset() for record in records])
        for row, record in enumerate(records, first):
            event = Row("images", 1, bytes(8), F32, f"e-{record.offset()}", None, None, None)
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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 1),
            st.sampled_from(["event", "event", "events", "filtered", "refused", "pending", "broken"]),
        )
    )
)
def test_outcomes_of_all_topics_keep_the_order_of_their_records(plan):
    reader = Script()
    raw = [
        StoredRecord(outcome.encode(), topic, partition, row)
        for row, (topic, partition, outcome) in enumerate(plan)
    ]
    codes = np.array([2 * (topic == "b") + partition for topic, partition, _ in plan], np.int32)
    contract = BaselineContract("images", "first", 2, None, DistanceMetric.EUCLIDEAN)
    decoder = Decoder([contract], lead_ms=0, readers={"a": reader, "b": reader})
    decoded = decoder.decode(Records(raw, codes, np.arange(len(raw)), np.full(len(raw), 1)))
    waiting, expected = set(), {"event": [], "filtered": [], "refused": [], "pending": []}
    for row, (topic, partition, outcome) in enumerate(plan):
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
    assert [batch.event_ids for batch in decoded.batches] == (
        [[f"e-{row}" for row in expected["event"]]] if expected["event"] else []
    )
    runs = [list(run) for _, run in groupby(range(len(plan)), lambda row: plan[row][0])]
    assert reader.runs == runs


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.sampled_from([RECORD_ID, "own", "", None])),
        min_size=1,
    )
)
def test_events_without_own_id_are_named_by_their_records(plan):
    raw = [StoredRecord(b"", topic, partition, 7 * row) for row, (topic, partition, _) in enumerate(plan)]
    offsets = np.array([record.offset() for record in raw])
    codes = np.array([2 * partition + (topic == "b") for topic, partition, _ in plan], np.int32)
    ids = {record.offset(): event_id for record, (_, _, event_id) in zip(raw, plan, strict=True)}

    class Ids(Script):
        def read(self, records, first, columns, largest_bytes=0):
            for row, record in enumerate(records, first):
                event = Row("images", 1, bytes(8), F32, ids[record.offset()], None, None, None)
                columns.add(as_columns(row, event))

    contract = BaselineContract("images", "first", 2, None, DistanceMetric.EUCLIDEAN)
    decoder = Decoder([contract], lead_ms=0, readers={"a": Ids(), "b": Ids()})
    (batch,) = decoder.decode(Records(raw, codes, offsets, np.full(len(raw), 1))).batches
    expected = [
        default_id(record) if event_id is RECORD_ID else event_id
        for record, (_, _, event_id) in zip(raw, plan, strict=True)
    ]
    assert list(batch.event_ids) == (expected if any(expected) else [])


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
