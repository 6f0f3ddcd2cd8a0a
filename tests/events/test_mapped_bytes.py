"""The path of whole polls of vectors in bytes accepts all records, as that of each record does, or none."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.deserializers import deserialize_bytes
from driftgauge.events.mapped import MappedReader
from driftgauge.events.mapped_fast import compile_bytes
from driftgauge.events.records import NO_TIMESTAMP, StoredRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.timestamps import LAST_MS

TIME_MS = 1_000
MAPPING = {"encoding": "bytes", "stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}}
MAPPING["embedding"] = {"record": "value"}
SOUND = StoredRecord(b"12345678", "topic", 3, 7, stored_ms=TIME_MS)
RECORDS = st.builds(
    replace,
    st.just(SOUND),
    stored_value=st.sampled_from([b"12345678"] * 6 + [b"123456789012", b"123", b"", None]),
    stored_ms=st.sampled_from([TIME_MS, TIME_MS + 1, LAST_MS] * 3 + [LAST_MS + 1, 0, -1, None]),
    stored_offset=st.integers(0, 9),
    stored_partition=st.integers(0, 9),
)


def build_reader(**fields):
    return MappedReader(InputSettings.model_validate(MAPPING | fields), deserialize_bytes)


@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_path_of_each_record_accepts_the_same_with_equal_bits(records):
    reader = build_reader()
    rows = reader.read_all(records)
    event("left" if rows is None else "read")
    each = []
    for record in records:
        with suppress(EventError):
            each.append(reader.read(record))
    if rows is not None:
        assert list(rows) == each
    else:
        assert len(each) < len(records)


def test_time_of_a_record_without_one_is_not_taken():
    class Record(StoredRecord):
        def timestamp(self):
            return NO_TIMESTAMP, TIME_MS

    assert build_reader().read_all([SOUND]) is not None
    assert build_reader().read_all([Record(b"12345678")]) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "json"},
        {"stream": {"header": "stream"}},
        {"embedding": {"header": "vector"}},
        {"embedding": {"record": "key"}},
        {"embedding": {"record": "value", "dimension": 2}},
        {"timestamp": {"header": "at"}},
        {"event_id": {"record": "key"}},
        {"model_version": {"header": "version"}},
        {"segments": {"country": {"header": "country"}}},
        {"where": [{"record": "key", "in": ["a"]}]},
    ],
)
def test_other_mappings_are_not_read_so(fields):
    assert compile_bytes(InputSettings.model_validate(MAPPING)) is not None
    assert compile_bytes(InputSettings.model_validate(MAPPING | fields)) is None
