"""Problems of librdkafka's properties, found without a connection."""

from functools import partial

import pytest

from driftgauge.kafka import client

VALID = {"bootstrap.servers": "localhost:9092", "group.id": "g"}


@pytest.mark.parametrize(
    "combination",
    [
        {"sasl.mechanisms": "PLAIN", "sasl.username": "u", "sasl.password": "p"},
        {"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p"},
    ],
)
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_properties_valid_only_in_combination_have_no_problems(protocol, combination):
    # The protocol alone implies Kerberos, which the client library is built without.
    assert client.property_problems({**VALID, "security.protocol": protocol, **combination}) == []


def test_timeout_within_raised_limit_has_no_problem():
    raised = {"session.timeout.ms": 400_000, "max.poll.interval.ms": 600_000}
    assert client.property_problems({**VALID, **raised}) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"session.timeout.ms": 400_000}, "max.poll.interval.ms"),
        ({"max.poll.interval.ms": 5_000}, "session.timeout.ms"),  # below driftgauge's own default
        ({"acks": 1}, "enable.idempotence"),
        ({"max.in.flight": 50}, "enable.idempotence"),
        # Below driftgauge's own default for transactions.
        ({"message.timeout.ms": 60_000}, "transaction.timeout.ms"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"}, "sasl.username"),
        ({"security.protocol": "SSL", "ssl.key.location": "/no/such/key"}, "ssl.key.location"),
    ],
)
def test_conflicting_properties_are_one_problem_that_names_them(wrong, words):
    (problem,) = client.property_problems({**VALID, **wrong})
    assert problem.startswith("kafka: ")
    assert words in problem
    assert "Failed to create" not in problem


def test_conflict_does_not_quote_secret():
    (problem,) = client.property_problems({**VALID, "security.protocol": "SSL", "ssl.key.pem": "hunter2"})
    assert "ssl.key.pem" in problem
    assert "hunter2" not in problem


def test_wrong_property_hides_conflicts():
    problems = client.property_problems({**VALID, "no.such.property": 1, "acks": 1})
    assert [problem.split(": ")[0] for problem in problems] == ["kafka.no.such.property"]


@pytest.mark.parametrize(
    "make",
    [
        partial(client.consumer, group="g"),
        client.groupless_consumer,
        client.producer,
        partial(client.transactional_producer, transactional_id="a", on_error=lambda _: None),
        client.admin,
    ],
)
def test_properties_without_problems_create_every_client(make):
    properties = {"group.id": "g", "security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"}
    properties |= {"sasl.username": "u", "sasl.password": "p", "acks": "all", "session.timeout.ms": 6_000}
    assert client.property_problems(properties) == []
    assert make(properties) is not None
