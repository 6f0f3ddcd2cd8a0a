"""Tests of `driftgauge.events.deserializers`."""

import base64
import json

import pytest

from driftgauge.events.deserializers import deserialize_cloudevent
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError

BINARY = [("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_id", b"5")]
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def cloudevent(value, headers):
    return deserialize_cloudevent(StoredRecord(value, stored_headers=headers))


def refusal(value, headers):
    with pytest.raises(EventError) as caught:
        cloudevent(value, headers)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "text/json",
                                          "application/vnd.x+json", None])  # fmt: skip
def test_binary_mode_has_attributes_in_headers_and_json_in_value(content_type):
    headers = [*BINARY] if content_type is None else [*BINARY, ("content-type", content_type.encode())]
    event = cloudevent(b'{"v": [1]}', headers)
    assert event == {
        "specversion": "1.0", "type": "t", "id": "5", "data": {"v": [1]},
        "datacontenttype": content_type or "",
    }  # fmt: skip


def test_header_names_have_any_case_and_values_may_be_text_or_missing():
    headers = [
        ("CE-SpecVersion", "1.0"), ("Content-Type", "application/json"), ("ce_subject", None),
        ("ce_bad", b"\xff"), ("ce_data", b"x"), ("other", b"y"),
    ]  # fmt: skip
    event = cloudevent(b"1", headers)
    assert event == {"specversion": "1.0", "datacontenttype": "application/json", "data": 1}


def test_structured_mode_is_json_with_attributes():
    document = {"specversion": "1.0", "type": "t", "data": {"v": [1]}, "extension": True}
    assert cloudevent(json.dumps(document).encode(), STRUCTURED) == document


@pytest.mark.parametrize(
    ("content_type", "data"),
    [("application/json", {"v": [1]}), ("application/octet-stream", b'{"v": [1]}'), (None, b'{"v": [1]}')],
)
def test_structured_mode_has_binary_data_in_base64(content_type, data):
    document = {"specversion": "1.0", "data_base64": base64.b64encode(b'{"v": [1]}').decode()}
    if content_type:
        document["datacontenttype"] = content_type
    assert cloudevent(json.dumps(document).encode(), STRUCTURED)["data"] == data


@pytest.mark.parametrize(
    ("value", "headers", "reason", "part"),
    [
        (b"{}", [], "invalid", "neither a structured CloudEvent nor one with ce_ headers"),
        (b"{}", [("ce_type", b"t")], "invalid", "neither"),
        (b"{}", [("ce_specversion", b"\xff")], "invalid", "neither"),
        (b"{}", STRUCTURED, "invalid", "no JSON object with specversion"),
        (b"[]", STRUCTURED, "invalid", "no JSON object with specversion"),
        (b"{", STRUCTURED, "undecodable", ""),
        (b"{", BINARY, "undecodable", ""),
        (b"", BINARY, "undecodable", ""),
        (b'{"specversion": "1.0", "data_base64": "A"}', STRUCTURED, "invalid", "data_base64: no base64"),
        (b'{"specversion": "1.0", "data_base64": 5}', STRUCTURED, "invalid", "data_base64: no base64"),
        (
            b'{"specversion": "1.0", "data_base64": "ew==", "datacontenttype": "text/json"}',
            STRUCTURED,
            "undecodable",
            "",
        ),
    ],
)
def test_other_records_are_no_cloudevent(value, headers, reason, part):
    found, detail = refusal(value, headers)
    assert found == reason
    assert part in detail


def test_binary_mode_of_other_content_has_bytes():
    event = cloudevent(b"\xff\0", [*BINARY, ("content-type", b"application/octet-stream")])
    assert event["data"] == b"\xff\0"


def test_null_data_base64_is_absent():
    document = {"specversion": "1.0", "data": 5, "data_base64": None}
    assert cloudevent(json.dumps(document).encode(), STRUCTURED)["data"] == 5
