"""The operator's Kafka client: its extra, and refused connections."""

import sys

import pytest

from driftgauge.errors import AuthorizationError, BrokerError, ConfigError
from driftgauge.kafka.hanging.client import OperatorClient


def test_missing_extra_names_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "kafka", None)
    with pytest.raises(ConfigError, match=r"pip install 'driftgauge\[operator\]'"):
        OperatorClient({"bootstrap.servers": "127.0.0.1:1"})


@pytest.mark.parametrize(
    ("refusal", "error", "message"),
    [
        ("KafkaTimeoutError", BrokerError, "cannot reach Kafka .*check that all brokers run"),
        ("ClusterAuthorizationFailedError", AuthorizationError, "describe and alter the cluster"),
        ("SaslAuthenticationFailedError", AuthorizationError, "an operator's credentials"),
    ],
)
def test_refused_connection_names_remedy(monkeypatch, refusal, error, message):
    import kafka  # noqa: PLC0415 - an extra

    def refuse(**_):
        raise getattr(kafka.errors, refusal)

    monkeypatch.setattr(kafka, "KafkaAdminClient", refuse)
    with pytest.raises(error, match=message):
        OperatorClient({"bootstrap.servers": "127.0.0.1:1"})
