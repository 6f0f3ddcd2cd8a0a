"""What the cluster refuses: the reason, from the errors of connections, and the rights that are missing."""

from concurrent.futures import Future
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from driftgauge.kafka.rights import connection_refused, missing_topic_rights

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


def test_missing_rights_are_those_that_the_cluster_reports():
    answers = {topic: Future() for topic in ("read", "unknown", "hidden")}
    answers["read"].set_result(SimpleNamespace(authorized_operations=[AclOperation.READ]))
    answers["unknown"].set_result(SimpleNamespace(authorized_operations=None))
    answers["hidden"].set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    admin = Mock(**{"describe_topics.return_value": answers})
    operations = AclOperation.READ, AclOperation.WRITE
    needed = [(topic, operation) for topic in answers for operation in operations]
    assert missing_topic_rights(admin, needed) == ["Write on read"]
