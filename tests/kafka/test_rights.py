"""The reason why a client has no connection, from the errors of its connections."""

import pytest
from confluent_kafka import KafkaError

from driftgauge.kafka.rights import connection_refused

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
AWAY = KafkaError(KafkaError._TRANSPORT, "connection refused")
LOGIN = KafkaError(KafkaError._AUTHENTICATION, "wrong password")
HANDSHAKE = KafkaError(KafkaError._SSL, "unknown certificate")


@pytest.mark.parametrize(
    ("errors", "reason", "text"),
    [
        ([AWAY, DOWN], "_TRANSPORT", "connection refused"),
        ([LOGIN, DOWN, AWAY], "_AUTHENTICATION", "wrong password"),
        ([LOGIN, AWAY, HANDSHAKE], "_SSL", "unknown certificate"),
    ],
)
def test_refusal_says_more_than_a_broker_that_is_away(errors, reason, text):
    found = connection_refused(errors)
    assert found.reason == reason
    assert text in str(found)
    assert "sasl.*" in str(found)


def test_lost_brokers_alone_say_nothing():
    assert connection_refused([DOWN]) is None
