"""The client of the schema registry and its properties."""

import json
import logging
import sys
from base64 import b64encode

import pytest

from driftgauge.errors import ConfigError
from driftgauge.kafka.registry_client import connect, is_unknown, is_unreachable, registry_problems, remedy
from tests.harness.registry_server import serve_answers

URL = "https://registry.example"


@pytest.mark.parametrize(
    ("properties", "timeout_s", "retries"),
    [({}, 5, 0), ({"timeout": "2.5", "max.retries": "3"}, 2.5, 3)],
    ids=["neither waits for ever nor retries by itself", "a number may be a text"],
)
def test_client_has_bounds(properties, timeout_s, retries):
    client = connect({"url": URL, **properties})
    assert client._rest_client.session.timeout.read == timeout_s
    assert client._rest_client.max_retries == retries
    for name in ("httpx", "httpx2"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO), "requests are not logged"


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"no.such.property": 1}, "schema_registry: Unrecognized properties: no.such.property"),
        ({"timeout": "soon"}, "schema_registry: timeout must be a number"),
        ({"basic.auth.user.info": "hunter2"}, "basic.auth.user.info must be in the form"),
        ({"proxy": "hunter2://user:hunter2@proxy"}, "schema_registry: "),
        ({"ssl.ca.location": "/nowhere/ca.pem"}, "No such file"),
        (
            {"bearer.auth.credentials.source": "STATIC_TOKEN", "bearer.auth.token": "hunter2"},
            "schema_registry: ",
        ),
    ],
)
def test_refused_property_is_reported_without_its_secret(properties, problem):
    (found,) = registry_problems({"url": URL} | properties)
    assert problem in found
    assert "hunter2" not in found.replace("hunter2://", "")


def test_missing_extra_is_reported_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(
        ConfigError, match=r"needs the extra registry \(.*\); pip install driftgauge\[registry\]"
    ):
        connect({"url": URL})


def test_credentials_and_format_are_sent():
    asked = []

    def answer(*request):
        asked.append(request)
        return 200, b'{"schema": "CgF4", "schemaType": "PROTOBUF"}'

    with (
        serve_answers(answer) as url,
        connect({"url": url, "basic.auth.user.info": "user:hunter2"}) as client,
    ):
        assert client.get_schema(7, fmt="serialized").schema_str == "CgF4"
    basic = f"Basic {b64encode(b'user:hunter2').decode()}"
    assert asked == [("/schemas/ids/7?format=serialized", basic)]


@pytest.mark.parametrize(
    ("status", "body", "unknown", "cure"),
    [
        (404, {"error_code": 40403, "message": "Schema 7 not found"}, True, ""),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, False, "check the path"),
        (404, "<html>", False, "check the path"),
        (401, {"error_code": 401, "message": "Unauthorized"}, False, "credentials"),
        (200, "<html>", False, "check that the schema registry runs"),
        (200, [], False, "check that the schema registry runs"),
        (503, "", False, "check the schema registry"),
    ],
)
def test_answers_are_told_apart(status, body, unknown, cure):
    text = body if isinstance(body, str) else json.dumps(body)
    with (
        serve_answers(lambda *_: (status, text.encode())) as url,
        connect({"url": url}) as client,
        pytest.raises(Exception) as caught,  # noqa: PT011
    ):
        client.get_schema(7)
    assert is_unknown(caught.value) == unknown
    assert not is_unreachable(caught.value)
    assert cure in remedy(caught.value)


def test_registry_that_is_away_is_not_an_unknown_schema():
    with connect({"url": "http://127.0.0.1:1"}) as client, pytest.raises(Exception) as caught:  # noqa: PT011
        client.get_schema(7)
    assert not is_unknown(caught.value)
    assert is_unreachable(caught.value)
    assert "check that the schema registry runs" in remedy(caught.value)
