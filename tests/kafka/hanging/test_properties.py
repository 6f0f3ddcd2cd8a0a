"""The translation of librdkafka's properties into kafka-python's settings."""

import pytest

from driftgauge.errors import ConfigError
from driftgauge.kafka.hanging.properties import connection


def test_only_connection_properties_are_translated():
    assert connection(
        {
            "bootstrap.servers": "one:9092,two:9092",
            "group.id": "watch",
            "security.protocol": "sasl_ssl",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": "operator",
            "sasl.password": "secret",
            "ssl.ca.location": "/tls/ca.crt",
            "ssl.endpoint.identification.algorithm": "none",
            "socket.keepalive.enable": True,
            "fetch.wait.max.ms": 50,
        }
    ) == {
        "client_id": "driftgauge",
        "bootstrap_servers": ["one:9092", "two:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "operator",
        "sasl_plain_password": "secret",
        "ssl_cafile": "/tls/ca.crt",
        "ssl_check_hostname": False,
    }


def test_unsupported_property_is_refused_without_its_secret():
    with pytest.raises(ConfigError) as refusal:
        connection(
            {
                "bootstrap.servers": "one:9092",
                "ssl.keystore.password": "secret",
                "sasl.oauthbearer.method": "oidc",
            }
        )
    assert refusal.value.problems == ("kafka.ssl.keystore.password", "kafka.sasl.oauthbearer.method = oidc")
    assert "secret" not in str(refusal.value)


def test_every_setting_exists_in_kafka_python():
    from kafka import KafkaAdminClient  # noqa: PLC0415 - an extra

    properties = {
        "bootstrap.servers": "one:9092",
        "client.id": "x",
        "sasl.kerberos.service.name": "kafka",
        "ssl.certificate.location": "a",
        "ssl.key.location": "b",
        "ssl.key.password": "c",
        "ssl.crl.location": "d",
        "sasl.mechanism": "PLAIN",
    }
    assert connection(properties).keys() <= KafkaAdminClient.DEFAULT_CONFIG.keys()
