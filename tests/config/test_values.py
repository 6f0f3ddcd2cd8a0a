"""What a configuration's text means: values, mappings, paths, defaults, limits, and masked secrets."""

import contextlib
import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from driftgauge.config import load_settings
from driftgauge.config.inputs import MAX_SEGMENTS, MAX_TEXT, InputSettings, Source, StreamSource
from driftgauge.config.paths import Choice, Json, parse_path
from driftgauge.config.urls import fill_template, origin
from tests.builders.configs import (
    FULL,
    MINIMAL,
    SECRET,
    warmed_up,
    with_kafka,
    with_sections,
    with_stream,
)


@pytest.mark.parametrize("text", [FULL, MINIMAL])
def test_values_and_defaults_are_read(load, tmp_path, snapshot, text):
    dumped = load(text).model_dump_json(indent=1)
    assert dumped.replace(str(tmp_path), "FOLDER") == snapshot


def test_names_follow_from_group_and_shards(load):
    settings = load()
    assert (settings.group, settings.windows_group) == ("driftgauge", "driftgauge.windows")
    assert [settings.partials_topic, settings.changelog_topic, settings.heartbeats_topic] == [
        f"driftgauge.driftgauge.{name}" for name in ("partials.16", "changelog.16", "heartbeats")
    ]
    assert load(FULL).partials_topic == "kept.partials.64"


def test_dump_loads_as_same_settings(load, tmp_path):
    settings = load(FULL.replace("sasl.password: hunter2, ", ""))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    assert load_settings(path, {}) == settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.http.port = 1


def test_merge_key_is_overridden_and_no_duplicate(load):
    text = MINIMAL.replace("- {name", "- &first {name") + "  - {<<: *first, name: texts}\n"
    assert [stream.name for stream in load(text).streams] == ["images", "texts"]


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2025-11-03T00:00:00Z", 1_762_128_000_000),
        ("2025-11-03 00:00:00Z", 1_762_128_000_000),
        ("2025-11-03T01:00:00+01:00", 1_762_128_000_000),
        ("2025-11-02T18:30:00-05:30", 1_762_128_000_000),
        ("2025-11-03T00:00:00.25Z", 1_762_128_000_250),
    ],
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_time_is_read_from_yaml_time_and_text(load, text, time_ms, quote):
    (stream,) = load(warmed_up(f"{quote}{text}{quote}", "2026-01-01T00:00:00Z")).streams
    assert stream.warm_up.start == time_ms


@pytest.mark.parametrize(
    "text",
    [
        warmed_up("2025-11-03T00:00:00Z", "2025-11-03T20:00:00Z"),
        with_stream(incomplete_after="1h"),
        with_stream(allowed_disorder="0s", allowed_lateness="0s"),
        with_sections(commit_interval="5s"),
        with_sections(replica=12),
        with_sections(replica="r" * 128),
        with_sections(page={"path_prefix": "/tools/drift"}),
        MINIMAL.replace("group.id: driftgauge", f"group.id: {'g' * 225}"),
        MINIMAL.replace("group.id: driftgauge", "group.id: two words") + "topics: {internal: kept}\n",
        *(
            with_sections(
                inputs={
                    "embeddings": {
                        "encoding": encoding,
                        "stream": "stream",
                        "timestamp": "at",
                        "embedding": "vector",
                    }
                }
            )
            for encoding in ("json", "cloudevents", "inference")
        ),
    ],
)
def test_value_at_its_limit_is_accepted(load, text):
    assert load(text).streams


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        *(
            ("kafka", name, SECRET)
            for name in (
                "sasl.password",
                "ssl.key.password",
                "ssl.keystore.password",
                "ssl.key.pem",
                "sasl.oauthbearer.client.secret",
                "sasl.oauthbearer.config",
                "sasl.oauthbearer.assertion.private.key.passphrase",
                "sasl.oauthbearer.assertion.private.key.pem",
            )
        ),
        ("schema_registry", "basic.auth.user.info", f"user:{SECRET}"),
        ("schema_registry", "bearer.auth.token", SECRET),
        ("schema_registry", "bearer.auth.client.secret", SECRET),
        ("schema_registry", "ssl.key.password", SECRET),
        ("schema_registry", "proxy", f"http://user:{SECRET}@proxy:3128"),
        ("schema_registry", "proxy", f"http://user:p/{SECRET}@x@proxy:3128"),
    ],
)
def test_secret_is_masked_in_output_and_kept_in_use(load, section, name, value):
    shown = {"sasl.username": "someone", "ssl.key.location": "key.file"}
    tree = yaml.safe_load(with_kafka(**shown)) | {"schema_registry": {"url": "https://registry"}}
    tree[section][name] = value
    settings = load(yaml.safe_dump(tree))
    assert getattr(settings, section)[name] == value
    for text in (repr(settings), f"{settings}", str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in text
        assert "***" in text
        assert {"localhost:9092", "https://registry", *shown.values()} <= set(re.findall(r"[\w:/.]+", text))


def test_links_of_page_quote_ids_and_keep_their_host(load):
    (stream,) = load(MINIMAL).streams
    assert stream.example_url is stream.thumbnail_url is None
    shop, pictures = (
        "https://shop.example:8443/{stream}?id={event_id}&x={event_id}",
        "http://images.example:81/{event_id}.png?size=48",
    )
    (stream,) = load(with_stream(example_url=shop, thumbnail_url=pictures)).streams
    link = fill_template(stream.example_url, "a.b", "javascript:alert(1)/../?&#\"'<>ö")
    quoted = "javascript%3Aalert%281%29%2F..%2F%3F%26%23%22%27%3C%3E%C3%B6"
    assert link == f"https://shop.example:8443/a.b?id={quoted}&x={quoted}"
    assert fill_template(stream.example_url, "s", "..") is None, "a browser takes it for a step up"
    assert origin(stream.thumbnail_url) == "http://images.example:81"
    assert fill_template(stream.thumbnail_url, "s", "7") == "http://images.example:81/7.png?size=48"


VECTOR = {"stream": {"constant": "images"}, "embedding": "vector"}
VALID = {**VECTOR, "timestamp": {"record": "timestamp"}}


def read(**changes):
    return InputSettings.model_validate({**VALID, **changes})


def with_inputs(**topics):
    return f"{MINIMAL}topics: {{events: [embeddings, orders]}}\n" + yaml.safe_dump({"inputs": topics})


def test_printed_mapping_can_be_loaded_again(load):
    inputs = {
        "orders": {
            "encoding": "cloudevents",
            "where": [
                {"path": "type", "in": ["response"]},
                {"path": "v", "not_in": ["?"]},
                {"path": "old", "exists": False},
            ],
            "timestamp": {"path": "time", "unit": "s", "or": "record"},
            "segments": {"country": {"path": "data.country"}},
            "numbers": {"confidence": {"path": "data.score"}},
            "vectors": [{"stream": {"constant": "images"}, "embedding": {"path": "v", "dtype": "f16"}}],
        }
    }
    settings = load(with_inputs(**inputs))
    dumped = settings.model_dump(mode="json")["inputs"]
    absent = dict.fromkeys(("event_id", "model_version", "snippet"))
    assert dumped == {"orders": {**inputs["orders"], **absent}}
    assert load(with_inputs(**dumped)) == settings


def test_text_is_short_form_of_path_and_stream_of_one_vector():
    settings = read(stream="model.name", event_id="id", segments={"country": "user.country"})
    (vector,) = settings.vectors
    assert (vector.stream, vector.embedding.path) == (StreamSource(path="model.name"), "vector")
    assert (settings.event_id, settings.segments) == (
        Source(path="id"),
        {"country": Source(path="user.country")},
    )
    assert read() == InputSettings.model_validate({"timestamp": VALID["timestamp"], "vectors": [VECTOR]})


@pytest.mark.parametrize(
    ("mapping", "part"),
    [
        ({**VALID, "vectors": [VECTOR]}, "short form of vectors; give one of them"),
        ({"embedding": "vector"}, "vectors.0.stream\n  Field required"),
        (
            {**VALID, "stream": {"constant": "images", "rename": {"a": "b"}}},
            "rename is for names in records; write the stream itself as constant",
        ),
        (
            {**VALID, "stream": {"path": "s", "rename": {"a": "b c"}}},
            "stream.rename.a\n  String should match",
        ),
        ({"stream": "s"}, "vectors.0.embedding\n  Field required"),
        ({}, "vectors\n  Field required"),
        ({"vectors": []}, "must name at least one"),
        *(
            ({**VALID, "stream": source}, "give exactly one of path, header, record and constant")
            for source in ({}, {"path": "a", "header": "b"}, {"record": "key", "constant": "c"})
        ),
        *(
            ({**VALID, **changes}, part)
            for changes, part in (
                ({"stream": "a..b"}, "is no path"),
                ({"stream": 5}, "valid dictionary"),
                ({"stream": {"constant": 5}}, "valid string"),
                ({"stream": {"record": "offset"}}, "'key', 'value' or 'timestamp'"),
                ({"embedding": {"path": "v", "dtype": "f8"}}, "'f32', 'f16', 'bf16', 'f64' or 'int8'"),
                ({"embedding": {"path": "v", "shape": "a[x]"}}, "is no path"),
                ({"embedding": {"path": "v", "shape": "s", "dimension": 4}}, "give only one"),
                ({"embedding": {"path": "v", "dimension": 0}}, "greater than or equal to 1"),
                ({"embedding": {"path": "v", "scale": 0.5}}, "scale and zero_point belong to dtype int8"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": 0}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": 1e300}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": float("nan")}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "zero_point": 128}}, "zero_point"),
                ({"timestamp": {"path": "t", "unit": "m"}}, "'s', 'ms', 'us' or 'ns'"),
                ({"timestamp": {"record": "timestamp", "unit": "s"}}, "leave unit, assume_utc and or out"),
                ({"timestamp": {"record": "timestamp", "or": "record"}}, "leave unit, assume_utc and or out"),
                ({"timestamp": {"path": "t", "or": "now"}}, "timestamp.or\n  Input should be 'record'"),
                ({"timestamp": None}, "timestamp\n  Value error, say where the event time is"),
                ({"encoding": "xml"}, "encoding"),
                ({"where": [{"path": "op"}]}, "give exactly one of in, not_in and exists"),
                ({"where": [{"path": "op", "in": ["c"], "exists": True}]}, "give exactly one of in, not_in"),
                ({"where": [{"path": "op", "in": ["c"], "not_in": ["d"]}]}, "give exactly one of in, not_in"),
                ({"where": [{"path": "op", "not_in": []}]}, "must name at least one"),
                ({"where": [{"path": "op", "in": []}]}, "must name at least one"),
                ({"where": [{"path": "op", "in": [1.5]}]}, "where"),
                ({"where": [{"path": "op", "values": ["c"]}]}, "Extra inputs"),
                ({"vector": "v"}, "Extra inputs"),
                ({"segments": {f"key{index}": "a" for index in range(MAX_SEGMENTS + 1)}}, "segments"),
                ({"segments": {"k" * (MAX_TEXT + 1): "a"}}, "segments"),
                ({"encoding": "bytes"}, "encoding bytes has no paths (vector)"),
                ({"encoding": "bytes", "embedding": {"record": "value", "shape": "s"}}, "has no paths (s)"),
                (
                    {
                        "encoding": "bytes",
                        "embedding": {"record": "value"},
                        "where": [{"path": "a.b", "in": ["c"]}],
                    },
                    "has no paths (a.b)",
                ),
            )
        ),
    ],
)
def test_wrong_mapping_is_refused(mapping, part):
    with pytest.raises(ValidationError) as caught:
        InputSettings.model_validate(mapping)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "encoding": "bytes",
            "stream": {"header": "model"},
            "timestamp": {"header": "time", "unit": "us"},
            "event_id": {"record": "key"},
            "embedding": {"record": "value", "dtype": "int8", "scale": 0.5, "zero_point": -3},
        },
        {"segments": {f"key{index}": "a" for index in range(MAX_SEGMENTS)}},
        {"segments": {"k" * MAX_TEXT: "a"}},
    ],
)
def test_mapping_at_its_limits_is_accepted(changes):
    assert read(**changes).vectors


def test_inputs_are_loaded_from_file_and_environment(load):
    orders = {**VALID, "where": [{"header": "type", "in": ["a", 1, True]}]}
    settings = load(with_inputs(orders=orders))
    (condition,) = settings.inputs["orders"].where
    assert (condition.header, condition.values) == ("type", ("a", 1, True))
    assert load(with_inputs(), DRIFTGAUGE_INPUTS=json.dumps({"orders": orders})) == settings


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("id", ("id",)),
        ("payload.items[0].id", ("payload", "items", 0, "id")),
        ("[2].x", (2, "x")),
        ("a[0][1]", ("a", 0, 1)),
        ('data["x.y"].z', ("data", "x.y", "z")),
        ('["a b"]["[0]"]', ("a b", "[0]")),
        ("outputs[name=embedding].data", ("outputs", Choice("name", "embedding"), "data")),
        ("outputs[name=a b=c.d]", ("outputs", Choice("name", "a b=c.d"))),
        ("tags[0=x]", ("tags", Choice("0", "x"))),
        ("payload[json].id", ("payload", Json(), "id")),
        ("[json][json=json]", (Json(), Choice("json", "json"))),
        ("größe.日付", ("größe", "日付")),
        ("a-b.c_d/e:f", ("a-b", "c_d/e:f")),
    ],
)
def test_path_has_steps(text, steps):
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    ["", ".", ".a", "a.", "a..b", "a.[0]", "a[", "a[]", "a[-1]", "a[x]", "a]", 'a[""]', "a b", "a[=x]",
     "a[n=]", "[0]a", '"a"', "a=b", "a[٣]"],
)  # fmt: skip
def test_other_text_is_no_path(text):
    with pytest.raises(ValueError, match="is no path; write names, dots and brackets"):
        parse_path(text)


NAMES = st.text(st.characters(exclude_characters='.[]="', exclude_categories=["Z", "C"]), min_size=1)


@given(st.lists(st.one_of(NAMES, st.integers(0, 99), st.builds(Choice, NAMES, NAMES)), min_size=1))
def test_written_path_is_read_back(steps):
    text = ""
    for step in steps:
        match step:
            case str():
                text += f".{step}" if text else step
            case int():
                text += f"[{step}]"
            case Choice():
                text += f"[{step.field}={step.value}]"
    assert parse_path(text) == tuple(steps)


@given(st.text(alphabet='a0.[]="\n '))
def test_any_text_is_a_path_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_path(text)
