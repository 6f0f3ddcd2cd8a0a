"""The client of the schema registry and its properties."""

import logging
import sys

import pytest

from driftgauge.errors import ConfigError
from driftgauge.kafka.registry_client import connect, registry_problems

URL = "https://registry.example"


def test_client_neither_waits_for_ever_nor_retries_by_itself():
    client = connect({"url": URL})
    assert client._rest_client.session.timeout.read == 5
    assert client._rest_client.max_retries == 0


def test_number_that_is_text_is_a_number():
    client = connect({"url": URL, "timeout": "2.5", "max.retries": "3"})
    assert client._rest_client.session.timeout.read == 2.5
    assert client._rest_client.max_retries == 3


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


def test_sound_properties_have_no_problem():
    assert registry_problems({"url": URL, "basic.auth.user.info": "user:hunter2"}) == []


def test_missing_extra_is_reported_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(
        ConfigError, match=r"needs the extra registry \(.*\); pip install driftgauge\[registry\]"
    ):
        connect({"url": URL})


def test_requests_are_not_logged():
    connect({"url": URL})
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)
