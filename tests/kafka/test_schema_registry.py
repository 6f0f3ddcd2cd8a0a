"""The schema registry's client: its properties, its answers, and its background thread."""

import json
import logging
import sys
import threading
from base64 import b64encode
from contextlib import nullcontext
from unittest.mock import Mock

import pytest
from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaReference
from confluent_kafka.schema_registry._sync.mock_schema_registry_client import MockSchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import ConfigError
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import Schema
from driftgauge.kafka.registry_client import connect, is_unknown, is_unreachable, registry_problems, remedy
from driftgauge.kafka.schema_registry import SchemaRegistry
from tests.harness.registry_server import serve_answers
from tests.waiting import wait_for

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


def answering(status, body):
    """Return a server that answers so; its context gives its address."""
    text = body if isinstance(body, str) else json.dumps(body)
    return serve_answers(lambda *_: (status, text.encode()))


RUNS = "check that the schema registry runs"


@pytest.mark.parametrize(
    ("server", "unknown", "unreachable", "cure"),
    [
        (answering(404, {"error_code": 40403, "message": "Schema 7 not found"}), True, False, ""),
        (answering(404, {"error_code": 404, "message": "HTTP 404"}), False, False, "check the path"),
        (answering(404, "<html>"), False, False, "check the path"),
        (answering(401, {"error_code": 401, "message": "Unauthorized"}), False, False, "credentials"),
        (answering(200, "<html>"), False, False, RUNS),
        (answering(200, []), False, False, RUNS),
        (answering(503, ""), False, False, "check the schema registry"),
        (nullcontext("http://127.0.0.1:1"), False, True, RUNS),
    ],
)
def test_answers_are_told_apart(server, unknown, unreachable, cure):
    with (
        server as url,
        connect({"url": url}) as client,
        pytest.raises(Exception) as caught,  # noqa: PT011
    ):
        client.get_schema(7)
    assert (is_unknown(caught.value), is_unreachable(caught.value)) == (unknown, unreachable)
    assert cure in remedy(caught.value)


TEXT = '{"type": "record", "name": "E", "fields": []}'
PLAIN_404 = SchemaRegistryError(404, 404, "HTTP 404 Not Found")


class Client(MockSchemaRegistryClient):
    """The library's own mock, which also raises errors.

    Attributes:
        error: The error of every schema, if there is one; `errors`: those of some by their id.
        asked: What it was asked for.
    """

    def __init__(self):
        super().__init__({"url": "mock://"})
        self.error, self.errors, self.asked = None, {}, []

    def get_schema(self, schema_id, subject_name=None, fmt=None):  # type: ignore[override]
        self.asked.append((schema_id, fmt))
        if error := self.errors.get(schema_id, self.error):
            raise error
        return super().get_schema(schema_id, subject_name, fmt)

    def register(self, text=TEXT, kind="AVRO", references=(), subject="embeddings-value"):
        return self.register_schema(subject, RegisteredSchema(text, kind, list(references)))


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def registry(client, clock):
    return SchemaRegistry(client, clock.clock)


def unknown(registry, schema_id, kind="AVRO"):
    with pytest.raises(EventError) as caught:
        registry.find(schema_id, kind)
    assert caught.value.reason is Reason.UNDECODABLE
    return caught.value.detail


def work_off(registry, clock):
    """Let the registry ask for what is due until nothing is; return the seconds that this takes."""
    waited_s = 0.0
    while (wait_s := registry.step()) is not None and waited_s < 60:
        waited_s += wait_s
        clock.advance(wait_s)
    return waited_s


def give_up(registry, clock, schema_id):
    """Let a schema become unknown; return the seconds that this takes."""
    assert registry.find(schema_id, "AVRO") is None
    return work_off(registry, clock)


@pytest.mark.parametrize(("kind", "text", "form"), [("AVRO", TEXT, None), ("PROTOBUF", "CgF4", "serialized")])
def test_schema_is_fetched_once_in_the_format_of_its_kind(registry, client, kind, text, form):
    schema_id = client.register(text, kind)
    for _ in range(2):
        assert registry.find(schema_id, kind) is None
    assert registry.step() == 0
    assert registry.find(schema_id, kind) == Schema(text)
    assert registry.step() is None
    assert client.asked == [(schema_id, form)]


def test_referenced_schemas_come_in_order_of_their_use(registry, client):
    color, point, line = (SchemaReference(f"shop.{name}", name, 1) for name in ("Color", "Point", "Line"))
    client.register("color", subject="Color")
    client.register("point", references=[color], subject="Point")
    client.register("line", references=[point, color], subject="Line")
    schema_id = client.register(references=[line, point])
    client.get_version = Mock(wraps=client.get_version)
    registry.find(schema_id, "AVRO")
    registry.step()
    references = (("shop.Color", "color"), ("shop.Point", "point"), ("shop.Line", "line"))
    assert registry.find(schema_id, "AVRO") == Schema(TEXT, references)
    asked = [(name, 1, True, None) for name in ("Line", "Point", "Color")]
    assert [each.args for each in client.get_version.call_args_list] == asked


@pytest.mark.parametrize(
    ("registered", "expected"), [("JSON", "AVRO"), ("AVRO", "PROTOBUF"), ("JSON", "PROTOBUF")]
)
def test_schema_of_another_type_is_refused(registry, client, registered, expected):
    schema_id = client.register(TEXT, registered)
    registry.find(schema_id, expected)
    registry.step()
    detail = f"is of the type {registered}, not {expected}; correct the encoding"
    assert detail in unknown(registry, schema_id, expected)


def test_unknown_schema_is_asked_for_three_times_and_again_after_a_minute(registry, client, clock):
    assert give_up(registry, clock, 1) == 3
    assert client.asked == [(1, None)] * 3
    clock.advance(59)
    assert "schema 1 is unknown to the schema registry" in unknown(registry, 1)
    assert registry.step() is None
    clock.advance(1)
    unknown(registry, 1)
    assert work_off(registry, clock) == 0, "nothing waits for the answer"
    assert len(client.asked) == 4
    client.register()
    clock.advance(60)
    unknown(registry, 1)
    registry.step()
    assert registry.find(1, "AVRO") == Schema(TEXT)


def test_many_unknown_schemas_are_asked_for_once_each(registry, client, clock):
    for schema_id in range(100):
        give_up(registry, clock, schema_id)
    client.asked.clear()
    assert give_up(registry, clock, 100) == 0
    clock.advance(3_700)
    give_up(registry, clock, 101)
    assert client.asked == [(100, None), *[(101, None)] * 3], "those of long ago say nothing of the next"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectionError("refused"), RUNS),
        (SchemaRegistryError(500, 50001, "Error in the backend data store"), "check the schema registry"),
        (SchemaRegistryError(403, 40301, "Forbidden"), "credentials"),
        (OAuthTokenError("hunter2 is wrong"), "credentials"),
        (SchemaRegistryError(404, -1, "Unknown Schema Registry Error: b'<html>'"), "check the path"),
        (PLAIN_404, "check the path"),
        (KeyError("schema"), RUNS),
    ],
)
def test_schema_is_not_known_yet_while_registry_fails(registry, client, clock, caplog, error, remedy):
    caplog.set_level(logging.INFO)
    former, schema_id = client.register(subject="former"), client.register()
    registry.find(former, "AVRO")
    work_off(registry, clock)
    client.error = error
    for _ in range(12):
        assert registry.find(schema_id, "PROTOBUF") is None
        clock.advance(registry.step())
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert remedy in warning.remedy
    assert "hunter2" not in warning.error
    client.error = None
    work_off(registry, clock)
    assert "not PROTOBUF" in unknown(registry, schema_id, "PROTOBUF")
    assert caplog.messages[1:] == ["the schema registry gives schemas again"]


@pytest.mark.parametrize(
    "error",
    [
        SchemaRegistryError(500, 50001, "Error"),
        SchemaRegistryError(403, 40301, "Forbidden"),
        KeyError("schema"),
    ],
)
def test_failing_schema_does_not_delay_others(registry, client, clock, caplog, error):
    caplog.set_level(logging.INFO)
    client.errors[7] = error
    registry.find(7, "AVRO")
    registry.step()
    schema_id = client.register()
    registry.find(schema_id, "AVRO")
    assert registry.step() == 0
    assert registry.find(schema_id, "AVRO") == Schema(TEXT)
    for pause_s in (1, 2, 4, 8, 10, 10):
        assert registry.step() == pause_s
        clock.advance(pause_s)
        registry.step()
    assert [record.schema_id for record in caplog.records] == [7]
    del client.errors[7]
    work_off(registry, clock)
    assert caplog.messages[1:] == ["the schema registry gives schemas again"]


def test_plain_404_is_unknown_while_registry_answers_for_others(registry, client, clock):
    client.errors[7] = PLAIN_404
    registry.find(7, "AVRO")
    registry.step()
    registry.find(client.register(), "AVRO")
    assert work_off(registry, clock) == 3
    assert client.asked.count((7, None)) == 3
    clock.advance(60)
    assert "is unknown" in unknown(registry, 7)
    assert work_off(registry, clock) == 0
    assert client.asked.count((7, None)) == 4


def test_thread_fetches_while_the_caller_goes_on_and_ends(client, monkeypatch):
    schema_id, released = client.register(), threading.Event()
    fetch = client.get_schema
    monkeypatch.setattr(
        client, "get_schema", lambda *asked, **options: released.wait(10) and fetch(*asked, **options)
    )
    with SchemaRegistry(client, SYSTEM_CLOCK) as registry:
        assert registry.find(schema_id, "AVRO") is None
        released.set()
        wait_for("the schema", lambda: registry.find(schema_id, "AVRO") == Schema(TEXT), within_s=10)
    assert not [each for each in threading.enumerate() if each.name == "schema-registry"]
