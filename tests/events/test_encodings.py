"""All encodings: of a batch near valid records, each is accepted or refused as it is alone."""

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import ENCODINGS, InputSettings
from driftgauge.events.mapped_readers import build_reader
from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import LAST_MS
from tests.bench.mutated import TOPIC, AllSchemas, make_cases
from tests.events.both_ways import assert_alike, near
from tests.events.mapped import IMAGES, TIME_MS, value
from tests.events.test_mapped import near_records
from tests.examples import examples

CASES = make_cases()
# In the place of a number of a text.
ODDITIES = [*b'[2] [[2]] [] {} true null "2" 1e400 1e39 18446744073709551616 -0 2,[3] 2,3'.split()]


# Behind a record: a space, and of Protobuf a number of `numbers` that is not packed, and some that are cut.
SURPLUS = [b" ", b"\x25\0\0\x80?", b"\x22\3abc"]


@st.composite
def with_oddity(draw, raw):
    """Draw bytes of which a number in digits has become something else."""
    numbers = [*re.finditer(rb"-?[0-9]+([.][0-9]+)?", raw)]
    found = draw(st.sampled_from(numbers)) if numbers else None
    return (
        raw if found is None else raw[: found.start()] + draw(st.sampled_from(ODDITIES)) + raw[found.end() :]
    )


def test_cases_have_all_encodings():
    assert {"json" if case.settings is None else case.settings.encoding for case in CASES.values()} == {
        *ENCODINGS
    }


def read_alike(settings, *records):
    inputs = {} if settings is None else {TOPIC: settings}
    return assert_alike(build_reader(TOPIC, inputs, AllSchemas()), *records)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=examples(80))
@given(data=st.data())
def test_fast_and_exact_accept_and_refuse_alike(name, data):
    case = CASES[name]
    valid = replace(case.valid, stored_topic=TOPIC, stored_ms=TIME_MS)
    raw = valid.value()
    longer = st.sampled_from(SURPLUS).map(lambda surplus: raw + surplus)
    values = st.just(raw) | near(raw, case.from_byte) | with_oddity(raw) | longer | st.none()
    records = values.map(lambda value: replace(valid, stored_value=value)) | near_records(valid, values)
    (first,) = read_alike(case.settings, valid)
    assert type(first) is list
    assert first
    read_alike(case.settings, *data.draw(st.lists(records, min_size=1, max_size=9)))


SHORT = {
    "stream": {"path": "s", "rename": {"nobody": "texts", "7": "moved"}},
    "embedding": {"path": "v", "dtype": "f16"},
    "event_id": "id",
    "model_version": "m",
    "snippet": "x",
    "segments": {"country": "c", "kind": "v.k"},
}
TEXT = st.none() | st.sampled_from(["", "e", "e" * 256, "e" * 257]) | st.integers(0, 9) | st.booleans()
USUAL = {"s": "images", "v": base64.b64encode(bytes(4)).decode(), "t": TIME_MS, "m": "v2", "c": "de"}
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "s": st.sampled_from(["images", "nobody", "a b", 7, None]),
        "v": st.binary(min_size=4, max_size=6).map(lambda raw: base64.b64encode(raw).decode())
        | st.sampled_from(["[1,2]", "[1,[2]]", "[1", "=", "AAAA=", [1], [[1, 2], [3, 4]], None, {}])
        | st.lists(st.sampled_from([1, 2.5, -0.0, 1e39, 2**70, True, "2", None]), min_size=2, max_size=2),
        "t": st.sampled_from(
            [0, TIME_MS - 1, LAST_MS, LAST_MS + 1, -1, True, 1.5, "1000", "2025-11-03T00:00:00Z", None, 2**64]
        ),
        "id": TEXT,
        "m": st.sampled_from(["v2", "v1", 2, None, "m" * 257]),
        "x": TEXT,
        "c": TEXT,
    },
)
ITEM = {"embedding": [1, 2, 3, 4]}
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "embedding": st.sampled_from(
            [[1, 2, 3, 4], [1.5], [], [True], "AACAPw==", [[1, 2], [3, 4]], None, {}]
        ),
        "id": st.sampled_from(["a", 5, "x" * 255, None, [1]]),
    },
)
LISTS = st.none() | st.lists(ITEMS | st.just(ITEM) | st.just(5), max_size=3)
BYTES = {
    **IMAGES,
    "encoding": "bytes",
    "embedding": {"record": "value"},
    "timestamp": {"record": "timestamp"},
}
# Mappings, and the values of their records.
BATCHES = [
    *(
        (
            SHORT | {"timestamp": {"path": "t", "unit": unit, "or": fallback}},
            (st.just({}) | CHANGES).map(lambda changed: value(**USUAL | changed)),
        )
        for unit in ("s", "ms", "us")
        for fallback in (None, "record")
    ),
    (
        {
            **IMAGES,
            "embedding": "data[*].embedding",
            "event_id": "data[*].id",
            "timestamp": {"record": "timestamp"},
        },
        LISTS.map(lambda items: value(data=items)),
    ),
    *(
        (BYTES | fields, st.sampled_from([b"12345678"] * 6 + [b"123456789012", b"123", b""]))
        for fields in (
            {},
            {"stream": {"header": "stream"}},
            {"embedding": {"header": "at", "dtype": "int8"}},
            {"embedding": {"record": "key", "dtype": "int8"}},
            {"embedding": {"record": "value", "dimension": 2}},
            {"timestamp": {"header": "at"}},
            {"event_id": {"record": "key"}},
            {"model_version": {"header": "stream"}},
            {"segments": {"country": {"header": "stream"}}},
            {"where": [{"record": "key", "in": ["k"]}]},
        )
    ),
]


@pytest.mark.parametrize(("mapping", "values"), BATCHES, ids=lambda each: str(each)[-60:])
@given(data=st.data())
def test_batch_of_records_is_judged_as_each(mapping, values, data):
    records = st.builds(
        StoredRecord,
        values,
        st.just(TOPIC),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from([None, b"k", b"\xff"]),
        st.sampled_from([(), [("stream", b"images"), ("at", b"1")], [("stream", b"\xff")]]),
        st.sampled_from([TIME_MS, TIME_MS + 1, LAST_MS] * 3 + [LAST_MS + 1, 0, -1, None]),
    )
    read_alike(InputSettings.model_validate(mapping), *data.draw(st.lists(records, min_size=1, max_size=9)))
