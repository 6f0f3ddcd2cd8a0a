"""The login: changed secrets and certificates, and what a cluster refuses."""

import threading
from concurrent.futures import Future
from contextlib import nullcontext
from itertools import product
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from driftgauge.engine.service import Service
from driftgauge.errors import BrokerError
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.kafka.rights import connection_refused, missing_topic_rights, unreadable_groups
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.watchdog import Lifetime
from tests.engine.parts import build_settings

BEFORE = {"sasl.username": "user", "sasl.password": "before", "sasl.oauthbearer.client.secret": "before"}


@pytest.fixture
def secrets():
    return dict(BEFORE)


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "client.pem"
    path.write_text("before")
    return path


@pytest.fixture
def watch(secrets, certificate, clock):
    login = Login({"ssl.certificate.location": str(certificate)}, lambda: dict(secrets))
    watch = LoginWatch(login, clock.clock)

    def look(after_s=10):
        clock.advance(after_s)
        return watch.needs_new_clients()

    return look


@pytest.mark.parametrize("name", ["sasl.password", "sasl.oauthbearer.client.secret"])
def test_changed_secret_needs_new_clients(watch, secrets, name):
    assert not watch()
    secrets[name] = "after"
    assert not watch(9)
    assert watch(1)
    secrets |= BEFORE
    assert not watch()
    # What can no longer be read is no change.
    secrets.clear()
    assert not watch()


@pytest.mark.parametrize("change", [lambda path: path.write_text("after"), lambda path: path.unlink()])
def test_changed_certificate_needs_new_clients(watch, certificate, change):
    assert not watch()
    change(certificate)
    assert watch()


@pytest.mark.parametrize(
    ("code", "seen_s", "asked_s", "is_refused"),
    [
        (KafkaError._TRANSPORT, [0, 11], 11, False),
        (KafkaError._AUTHENTICATION, [0, 5, 11], 11, True),
        (KafkaError._AUTHENTICATION, [0], 30, False),
        (KafkaError._AUTHENTICATION, [0, 70], 71, False),
        (KafkaError._AUTHENTICATION, [0, 11], 80, False),
    ],
)
def test_login_that_is_refused_again_and_again_ends_the_session(clock, code, seen_s, asked_s, is_refused):
    watch = LoginWatch(Login({}), clock.clock)
    now_s = 0
    for time_s in seen_s:
        clock.advance(time_s - now_s)
        now_s = time_s
        watch.observe(KafkaError(code, "unknown client"))
    clock.advance(asked_s - now_s)
    with pytest.raises(BrokerError, match="unknown client") if is_refused else nullcontext():
        watch.require_accepted()


def test_service_waits_while_no_client_can_be_made(certificate, clock):
    kafka = {
        "bootstrap.servers": "127.0.0.1:1",
        "group.id": "g",
        "security.protocol": "ssl",
        "ssl.certificate.location": str(certificate),
    }
    telemetry, lifetime = Mock(spec=RoleTelemetry), Mock(spec=Lifetime, stopping=threading.Event())
    telemetry.waits.side_effect = lambda *_: lifetime.stopping.set()
    service = Service(
        build_settings(kafka, windows="windows", letters="letters", events="events"),
        [],
        Mock(),
        login=Login(kafka),
        descriptions={},
        roles={Role.COUNT: telemetry},
        clock=clock.clock,
        lifetime=lifetime,
    )
    service.run()
    _, error, _ = telemetry.waits.call_args.args
    assert "ssl.certificate.location" in error


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
    assert connection_refused([DOWN]) is None


def answered(value):
    """Return a cluster's answer: the operations that it allows, None where it does not say, or an error."""
    future = Future()
    if isinstance(value, int):
        future.set_exception(KafkaException(KafkaError(value)))
    else:
        future.set_result(SimpleNamespace(authorized_operations=value))
    return future


def test_missing_rights_are_those_that_the_cluster_reports():
    answers = {
        "read": answered([AclOperation.READ]),
        "unknown": answered(None),
        "hidden": answered(KafkaError.TOPIC_AUTHORIZATION_FAILED),
    }
    admin = Mock(**{"describe_topics.return_value": answers})
    needed = list(product(answers, (AclOperation.READ, AclOperation.WRITE)))
    assert missing_topic_rights(admin, needed) == [("read", AclOperation.WRITE)]


def test_group_without_read_is_unreadable_once_its_coordinator_answers():
    answers = {
        "readable": answered([AclOperation.DESCRIBE, AclOperation.READ]),
        "described": answered([AclOperation.DESCRIBE]),
        "denied": answered(KafkaError.GROUP_AUTHORIZATION_FAILED),
        "silent": answered(KafkaError._TIMED_OUT),
    }
    first = dict.fromkeys(answers, answered(KafkaError.NOT_COORDINATOR))
    admin = Mock(**{"describe_consumer_groups.side_effect": [first, answers]})
    unreadable, silent = unreadable_groups(admin, list(answers))
    assert sorted(unreadable) == ["denied", "described"]
    assert [(group, error.code()) for group, error in silent] == [("silent", KafkaError._TIMED_OUT)]
