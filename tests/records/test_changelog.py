"""Changelog records decode to the encoded values; `schemas/changelog.v2.md` describes them."""

import hashlib
import math
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from driftgauge.core.windows.changelog import ShardPosition, StreamStatus
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.records.changelog import decode, encode_key, encode_value
from driftgauge.records.results import to_record
from tests.builders.changelog_records import GOLDEN, HISTORY
from tests.builders.changelog_strategies import RECORDS
from tests.builders.events import SCHEMAS
from tests.builders.results import build_result, build_score, field_names, plain
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


@pytest.mark.parametrize(("key", "value", "raw"), GOLDEN.values(), ids=GOLDEN.keys())
def test_golden_record_decodes_from_its_key(key, value, raw):
    assert encode_key(key) == raw
    read_key, read_value = decode(raw, encode_value(value))
    assert (read_key, plain(read_value)) == (key, plain(value))


def test_format_of_version_2_has_not_changed():
    raw = b"".join(encode_key(key) + encode_value(value) for key, value, _ in GOLDEN.values())
    assert hashlib.sha256(raw).hexdigest()[:16] == "fb51958c3a9cae27", "raise the version with the format"


@pytest.mark.parametrize("kind", GOLDEN)
def test_document_names_keys_and_fields(kind):
    _, value, raw = GOLDEN[kind]
    document = (SCHEMAS / "changelog.v2.md").read_text("utf-8")
    assert f"`{raw.decode()}`" in document
    assert [name for name in sorted(field_names(value)) if f"`{name}`" not in document] == []


def test_order_of_sets_and_mappings_does_not_change_bytes():
    counts = {1: 2, 3: 4}
    closed = {(1, Verdict.OK): 2, (1, Verdict.DRIFT): 3}
    status = StreamStatus(late=counts, revised=counts, closed=closed, alarms=frozenset((1, 9, 17)))
    producers = {(name, 0): (1, 5) for name in "ba"}
    segments = {("country", name): HISTORY.clean for name in "ba"}
    recent = {("country", name): (True,) for name in "ba"}
    values = [status, ShardPosition(1, 0, 0, producers), replace(HISTORY, segments=segments)]
    values.append(replace(HISTORY, memory=VerdictMemory(segments=recent)))

    def turned(value):
        if isinstance(value, dict):
            return dict(reversed(value.items()))
        if isinstance(value, frozenset):
            return frozenset(sorted(value, reverse=True))
        if is_dataclass(value):
            return replace(value, **{each.name: turned(getattr(value, each.name)) for each in fields(value)})
        return value

    for value in values:
        assert encode_value(turned(value)) == encode_value(value)


def test_result_that_public_schema_refuses_is_restored():
    """A public schema that becomes stricter must not make the state unreadable."""
    score = build_score((10, 20, 30, 40), js_p_value=math.nan)
    result = build_result(score=score)
    with pytest.raises(ValidationError):
        to_record(result, None)
    _, read = decode(GOLDEN["published"][2], encode_value(result))
    assert isinstance(read, WindowResult)
    assert read.score is not None
    assert math.isnan(read.score.js_p_value)
    assert read.counts.tolist() == [10, 20, 30, 40]
