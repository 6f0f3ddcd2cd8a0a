"""Tests of `driftgauge.config.inputs`."""

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.events.contract import MAX_SEGMENTS, MAX_TEXT
from tests.builders.configs import MINIMAL

VALID = {"stream": {"constant": "images"}, "embedding": "vector"}


def read(**changes):
    return InputSettings.model_validate({**VALID, **changes})


def with_inputs(**topics):
    return f"{MINIMAL}topics: {{events: [embeddings, orders]}}\n" + yaml.safe_dump({"inputs": topics})


def refusal(**changes):
    with pytest.raises(ValidationError) as caught:
        read(**changes)
    return str(caught.value)


def test_text_is_short_form_of_path():
    settings = read(stream="model.name", event_id="id", segments={"country": "user.country"})
    (vector,) = settings.vectors
    assert vector.stream == Source(path="model.name")
    assert vector.embedding.path == "vector"
    assert settings.event_id == Source(path="id")
    assert settings.segments == {"country": Source(path="user.country")}


def test_defaults_are_json_record_time_and_no_optional_fields():
    settings = read()
    assert (settings.encoding, settings.where, settings.segments) == ("json", (), {})
    assert settings.timestamp.record == "timestamp"
    assert (settings.event_id, settings.model_version) == (None, None)


def test_stream_and_embedding_are_short_form_of_one_vector():
    assert read() == InputSettings.model_validate({"vectors": [VALID]})
    both = {**VALID, "vectors": [VALID]}
    with pytest.raises(ValidationError, match="short form of vectors; give one of them"):
        InputSettings.model_validate(both)


@pytest.mark.parametrize("missing", ["stream", "embedding"])
def test_half_of_a_vector_names_the_missing_half(missing):
    half = {name: source for name, source in VALID.items() if name != missing}
    with pytest.raises(ValidationError, match=rf"vectors\.0\.{missing}\n\s+Field required"):
        InputSettings.model_validate(half)


@pytest.mark.parametrize("settings", [{}, {"vectors": []}])
def test_mapping_without_vectors_is_refused(settings):
    with pytest.raises(ValidationError, match=r"Field required|must name at least one"):
        InputSettings.model_validate(settings)


@pytest.mark.parametrize("source", [{}, {"path": "a", "header": "b"}, {"record": "key", "constant": "c"}])
def test_source_has_exactly_one_place(source):
    assert "give exactly one of path, header, record and constant" in refusal(stream=source)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
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
        ({"timestamp": {"record": "timestamp", "unit": "s"}}, "the record's timestamp is in ms"),
        ({"encoding": "xml"}, "encoding"),
        ({"where": [{"path": "op"}]}, "Field required"),
        ({"where": [{"path": "op", "in": []}]}, "must name at least one"),
        ({"where": [{"path": "op", "in": [1.5]}]}, "where"),
        ({"where": [{"path": "op", "values": ["c"]}]}, "Extra inputs"),
        ({"vector": "v"}, "Extra inputs"),
        ({"segments": {f"key{index}": "a" for index in range(MAX_SEGMENTS + 1)}}, "segments"),
        ({"segments": {"k" * (MAX_TEXT + 1): "a"}}, "segments"),
        ({"encoding": "bytes"}, r"encoding bytes has no paths (vector)"),
        ({"encoding": "bytes", "embedding": {"record": "value", "shape": "s"}}, "has no paths (s)"),
        (
            {"encoding": "bytes", "embedding": {"record": "value"}, "where": [{"path": "a.b", "in": ["c"]}]},
            "has no paths (a.b)",
        ),
    ],
)
def test_wrong_mapping_is_refused(changes, part):
    assert part in refusal(**changes)


def test_bytes_take_fields_from_headers_and_key():
    settings = read(
        encoding="bytes",
        stream={"header": "model"},
        timestamp={"header": "time", "unit": "us"},
        event_id={"record": "key"},
        embedding={"record": "value", "dtype": "int8", "scale": 0.5, "zero_point": -3},
    )
    assert settings.vectors[0].embedding.zero_point == -3


def test_limits_of_segments_are_those_of_an_event():
    assert len(read(segments={f"key{index}": "a" for index in range(MAX_SEGMENTS)}).segments) == MAX_SEGMENTS
    assert read(segments={"k" * MAX_TEXT: "a"})


def test_inputs_of_topics_are_loaded(load):
    settings = load(with_inputs(orders={**VALID, "where": [{"header": "type", "in": ["a", 1, True]}]}))
    (condition,) = settings.inputs["orders"].where
    assert (condition.header, condition.values) == ("type", ("a", 1, True))


def test_printed_mapping_can_be_loaded_again(load):
    inputs = {
        "orders": {
            "encoding": "cloudevents",
            "where": [{"path": "type", "in": ["response"]}],
            "timestamp": {"path": "time", "unit": "s"},
            "segments": {"country": {"path": "data.country"}},
            "vectors": [{"stream": {"constant": "images"}, "embedding": {"path": "v", "dtype": "f16"}}],
        }
    }
    settings = load(with_inputs(**inputs))
    dumped = settings.model_dump(mode="json")["inputs"]
    assert dumped == {"orders": {**inputs["orders"], "event_id": None, "model_version": None}}
    assert load(with_inputs(**dumped)) == settings


def test_inputs_name_topics_that_are_read(problems):
    assert "inputs name topics that are not read: other; add them to topics.events" in problems(
        with_inputs(other=VALID)
    )


def test_constant_stream_must_be_configured(problems):
    message = problems(with_inputs(orders={**VALID, "stream": {"constant": "imagse"}}))
    assert "inputs.orders: no such streams: imagse; add them to streams" in message


def test_environment_sets_inputs_as_json(load):
    text = f"{MINIMAL}topics: {{events: [embeddings, orders]}}\n"
    settings = load(text, DRIFTGAUGE_INPUTS='{"orders": {"stream": "s", "embedding": "v"}}')
    assert settings.inputs["orders"].vectors[0].stream.path == "s"
