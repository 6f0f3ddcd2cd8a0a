"""The schema registry's properties: required, refused and secret ones."""

import pytest
import yaml

from tests.builders.configs import MINIMAL, SECRET

INPUT = {"stream": "stream", "embedding": "vector"}


def with_registry(encoding="avro", **properties):
    tree = yaml.safe_load(MINIMAL) | {"inputs": {"embeddings": {"encoding": encoding, **INPUT}}}
    if properties:
        tree["schema_registry"] = {name.replace("_", "."): value for name, value in properties.items()}
    return yaml.safe_dump(tree)


@pytest.mark.parametrize("encoding", ["avro", "protobuf"])
def test_encoding_with_schemas_requires_registry(problems, encoding):
    message = problems(with_registry(encoding))
    assert "the schemas of embeddings are in a schema registry; set schema_registry.url" in message


@pytest.mark.parametrize("encoding", ["json", "cloudevents", "inference"])
def test_other_encoding_requires_no_registry(load, encoding):
    assert load(with_registry(encoding)).schema_registry == {}


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"url": f"https://user:p@{SECRET}@a"}, "schema_registry: url must hold no user and password"),
        ({"timeout": 1}, "schema_registry: url is missing"),
        ({"url": "registry:8081"}, "schema_registry: url must start with http:// or https://"),
        ({"url": f"https://a,{SECRET}"}, "schema_registry: url must start with http:// or https://"),
        ({"url": "http://a", "proxy": ["b"]}, "schema_registry: proxy must be text, a number, true or false"),
    ],
)
def test_faulty_property_is_reported_without_its_value(problems, properties, problem):
    message = problems(with_registry(**properties))
    assert problem in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("basic.auth.user.info", f"user:{SECRET}"),
        ("bearer.auth.token", SECRET),
        ("bearer.auth.client.secret", SECRET),
        ("ssl.key.password", SECRET),
        ("proxy", f"http://user:{SECRET}@proxy:3128"),
        ("proxy", f"http://user:p/{SECRET}@x@proxy:3128"),
    ],
)
def test_secret_is_masked_in_output_and_kept_in_use(load, name, value):
    settings = load(with_registry(**{"url": "https://registry", name: value}))
    assert settings.schema_registry[name] == value
    for text in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in text
        assert "registry" in text


def test_variables_set_properties(load):
    settings = load(
        with_registry(),
        DRIFTGAUGE_SCHEMA_REGISTRY__URL="https://registry",
        DRIFTGAUGE_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO=f"user:{SECRET}",
    )
    assert settings.schema_registry == {"url": "https://registry", "basic.auth.user.info": f"user:{SECRET}"}
