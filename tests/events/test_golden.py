"""The golden events: accepted or rejected alike by both paths of the decoder."""

import json

import jsonschema
import numpy as np
import pytest

from driftgauge.api import ParsedEvent, parse_event
from driftgauge.events.contract import read_json
from driftgauge.events.rejection import Reason
from driftgauge.events.rows import read_exact
from driftgauge.records.window_record import WindowRecord
from tests.builders.events import INVALID, SCHEDULES, SCHEMAS, VALID, WINDOW_RESULTS, decode, name, reason
from tests.events.test_own_contract import read_fast

BY_CONTRACT_ALONE = {Reason.UNDECODABLE, Reason.INVALID, Reason.NON_FINITE}
BEYOND_THE_SCHEMA = {
    "invalid--timestamp-a-float",
    "invalid--timestamp-with-exponent",
    "invalid--timestamp-30-february",
    "invalid--timestamp-leap-second-at-noon",
    "invalid--timestamp-before-1970",
}


@pytest.fixture(scope="module")
def event_schema():
    return validator("event.v1")


def validator(schema):
    text = (SCHEMAS / f"{schema}.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def test_golden_events_cover_every_reason():
    # The configuration decides on some of the others, and the service on a fault of its own.
    assert {reason(path) for path in INVALID} == set(Reason) - {Reason.TOO_LARGE, Reason.PAST, Reason.FAULT}


@pytest.mark.parametrize("path", VALID, ids=name)
def test_valid_event_is_read_alike_by_both_paths(path):
    raw = path.read_bytes()
    document = read_json(raw)
    assert read_fast(document, raw) == read_exact(document)


@pytest.mark.parametrize("path", VALID, ids=name)
def test_valid_event_matches_schema(path, event_schema):
    event_schema.validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_invalid_event_is_rejected_for_reason_in_file_name(path):
    decoded = decode(path.read_bytes())
    assert decoded.batches == ()
    (rejection,) = decoded.rejections
    assert rejection.reason == reason(path)
    assert rejection.detail
    assert rejection.stream in {None, *SCHEDULES}


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_parse_event_checks_contract_alone(path):
    parsed = parse_event(path.read_bytes())
    if reason(path) in BY_CONTRACT_ALONE:
        assert parsed.reason == reason(path)
        assert parsed.detail == decode(path.read_bytes()).rejections[0].detail
    elif path.stem != "wrong_dimension--before-non-finite":
        assert isinstance(parsed, ParsedEvent)


@pytest.mark.parametrize("path", [path for path in INVALID if reason(path) != "undecodable"], ids=name)
def test_schema_refuses_only_structural_faults(path, event_schema):
    structural = reason(path) == "invalid" and path.stem not in BEYOND_THE_SCHEMA
    assert event_schema.is_valid(json.loads(path.read_bytes())) != structural


@pytest.mark.parametrize("path", [path for path in INVALID if reason(path) == "invalid"], ids=name)
def test_detail_of_invalid_event_quotes_no_payload(path):
    detail = decode(path.read_bytes()).rejections[0].detail
    assert len(detail) < 200
    assert not any(quoted in detail for quoted in ("kkkk", "xxxx", "vvvv", "eeee", "köln", "hello"))


@pytest.mark.parametrize("path", WINDOW_RESULTS, ids=name)
def test_window_result_serializes_to_file_content(path):
    text = path.read_text("utf-8").rstrip("\n")
    validator("window-result.v1").validate(json.loads(text))
    assert WindowRecord.model_validate_json(text).model_dump_json() == text


USUAL = [0.5, -1.25, 3.0, np.float32(0.1)]


@pytest.mark.parametrize(
    ("case", "time_ms", "vector"),
    [
        ("array", 1_762_128_000_000, USUAL),
        ("base64", 1_762_128_000_000, USUAL),
        ("duplicate-key-the-last-wins", 1_762_128_000_000, USUAL),
        ("integers-as-numbers", 1_762_128_000_000, [1, -2, 0, 2**64]),
        ("negative-zero", 1_762_128_000_000, [-0.0, 0.0, 0.0, 1.0]),
        ("too-small-for-float32-is-zero", 1_762_128_000_000, [0.0, -0.0, 2**-149, 1.0]),
        ("rounded-by-way-of-double", 1_762_128_000_000, [0.1, 0.3, 1.0, 2**24]),
        ("timestamp-epoch", 0, USUAL),
        ("timestamp-with-offset", 1_762_128_000_000, USUAL),
        ("timestamp-with-nanoseconds", 1_762_128_000_123, USUAL),
        ("timestamp-leap-second", 1_483_228_800_000, USUAL),
    ],
)
def test_golden_event_has_expected_time_and_vector(case, time_ms, vector):
    (batch,) = decode((SCHEMAS / "golden" / "valid" / f"{case}.json").read_bytes()).batches
    assert batch.time_ms.tolist() == [time_ms]
    assert batch.vectors.tobytes() == np.array(vector, np.float32).tobytes()
