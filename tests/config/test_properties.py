"""librdkafka's properties: refused, required and secret ones."""

import pytest

from driftgauge.config import is_secret
from tests.builders.configs import SECRET, with_kafka


@pytest.mark.parametrize(
    "name",
    [
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "partition.assignment.strategy",
        "transactional.id",
    ],
)
def test_property_owned_by_service_is_refused(problems, name):
    message = problems(with_kafka(**{name: "true"}))
    assert message.count("\n") == 1
    assert f"kafka: {name} is set by driftgauge itself; leave it out" in message


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id"])
def test_missing_required_property_is_reported(problems, name):
    assert f"kafka: {name} is missing" in problems(with_kafka(**{name: ""}))


SECRET_PROPERTIES = [
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
]


@pytest.mark.parametrize("name", SECRET_PROPERTIES)
def test_secret_is_masked_in_output_and_kept_in_use(load, name):
    settings = load(with_kafka(**{name: SECRET}))
    assert settings.kafka[name] == SECRET
    shown = [
        repr(settings),
        str(settings),
        f"{settings}",
        repr([settings]),
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        settings.model_dump_json(),
    ]
    for text in shown:
        assert SECRET not in text
        assert "***" in text
        assert "localhost:9092" in text


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id", "sasl.username", "ssl.key.location"])
def test_other_properties_are_no_secrets(name):
    assert not is_secret(name)
