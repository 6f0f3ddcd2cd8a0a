"""What is said of librdkafka's properties before anything is connected."""

from functools import partial

import pytest

from driftgauge.kafka import client

SOUND = {"bootstrap.servers": "localhost:9092", "group.id": "g"}


@pytest.mark.parametrize(
    "together",
    [
        {"sasl.mechanisms": "PLAIN", "sasl.username": "u", "sasl.password": "p"},
        {"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p"},
    ],
)
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_properties_that_are_sound_only_together_have_no_problem(protocol, together):
    # By itself the protocol would ask for Kerberos, which the client library is built without.
    assert client.property_problems({**SOUND, "security.protocol": protocol, **together}) == []


def test_a_time_out_that_only_fits_a_raised_limit_has_no_problem():
    raised = {"session.timeout.ms": 400_000, "max.poll.interval.ms": 600_000}
    assert client.property_problems({**SOUND, **raised}) == []


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
def test_properties_that_do_not_go_together_are_one_problem_that_says_which(wrong, words):
    (problem,) = client.property_problems({**SOUND, **wrong})
    assert problem.startswith("kafka: ")
    assert words in problem
    assert "Failed to create" not in problem


def test_no_secret_is_quoted_where_it_does_not_go_with_the_others():
    (problem,) = client.property_problems({**SOUND, "security.protocol": "SSL", "ssl.key.pem": "hunter2"})
    assert "ssl.key.pem" in problem
    assert "hunter2" not in problem


def test_a_wrong_property_is_named_rather_than_what_follows_from_it():
    problems = client.property_problems({**SOUND, "no.such.property": 1, "acks": 1})
    assert [problem.split(": ")[0] for problem in problems] == ["kafka.no.such.property"]


@pytest.mark.parametrize(
    "make",
    [
        partial(client.consumer, group="g"),
        client.changelog_consumer,
        client.producer,
        partial(client.transactional_producer, transactional_id="a", on_error=lambda _: None),
        client.admin,
    ],
)
def test_what_has_no_problem_makes_every_client(make):
    properties = {"group.id": "g", "security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"}
    properties |= {"sasl.username": "u", "sasl.password": "p", "acks": "all", "session.timeout.ms": 6_000}
    assert client.property_problems(properties) == []
    assert make(properties) is not None
