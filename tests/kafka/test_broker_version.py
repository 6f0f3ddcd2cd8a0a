"""Tests of `driftgauge.kafka.broker_version`."""

import pytest
from confluent_kafka.admin import BrokerMetadata, ClusterMetadata

from driftgauge.errors import ConfigError
from driftgauge.kafka import broker_version
from driftgauge.kafka.broker_version import require_transactions
from tests.harness.demo import EmbeddedBroker


class VersionLoggingAdmin:
    """An admin client that logs a broker's request versions as librdkafka does."""

    def __init__(self, logger, versions):
        self._logger = logger
        self._versions = versions

    def list_topics(self, timeout):
        known = ClusterMetadata()
        known.controller_id = 1
        known.brokers = {1: BrokerMetadata()}
        return known

    def poll(self, _):
        for name, highest in self._versions.items():
            line = f"b:9092/bootstrap:   ApiKey {name} (28) Versions 0..{highest}"
            self._logger.log(7, "%s [%s] %s", "APIVERSION", "driftgauge#producer-1", line)


@pytest.fixture
def check(monkeypatch):
    def check_versions(**versions):
        monkeypatch.setattr(broker_version, "admin", lambda _, logger: VersionLoggingAdmin(logger, versions))
        require_transactions({})

    return check_versions


@pytest.mark.parametrize(
    ("versions", "known"),
    [
        ({"TxnOffsetCommit": 2, "OffsetFetch": 7}, "TxnOffsetCommit v2"),
        ({"TxnOffsetCommit": 3, "OffsetFetch": 6}, "OffsetFetch v6"),
        ({"Fetch": 4}, "TxnOffsetCommit v-1, OffsetFetch v-1"),
    ],
)
def test_brokers_before_kafka_2_5_are_refused(check, versions, known):
    with pytest.raises(ConfigError, match=rf"know {known} at most, .* upgrade them to Kafka 2\.5"):
        check(**versions)


def test_brokers_of_kafka_2_5_are_accepted(check, caplog):
    check(TxnOffsetCommit=3, OffsetFetch=7)
    assert caplog.records == []


def test_unreported_version_logs_warning(check, caplog):
    check()
    assert [line.getMessage() for line in caplog.records] == [
        "the brokers' version is not checked: the client does not report it"
    ]


@pytest.mark.broker
def test_real_broker_reports_versions(bootstrap, monkeypatch, caplog):
    require_transactions({"bootstrap.servers": bootstrap})
    assert caplog.records == []
    monkeypatch.setattr(broker_version, "_NEEDED", {"TxnOffsetCommit": 99})
    with pytest.raises(ConfigError, match=r"know TxnOffsetCommit v\d+ at most"):
        require_transactions({"bootstrap.servers": bootstrap})


def test_embedded_broker_is_accepted():
    with EmbeddedBroker(["events"]) as broker:
        require_transactions({"bootstrap.servers": broker.bootstrap})
