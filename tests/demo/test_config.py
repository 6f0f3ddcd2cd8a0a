"""Tests of `deploy.demo.config`."""

import os
import signal
import threading

import pytest
from deploy.demo.config import EVENTS_TOPIC, TOPICS, write_config
from deploy.demo.days import check
from deploy.demo.errors import DemoError
from deploy.demo.service_process import ServiceProcess

from driftgauge.config import load_settings
from driftgauge.kafka import client
from tests.builders.baselines import save_baseline
from tests.builders.clocks import MONDAY_MS
from tests.builders.days import build_days
from tests.builders.events import build_event

STREAM: dict[str, object] = {
    "name": "digits",
    "baseline": "digits.safetensors",
    "windows": ["1d"],
    "idle_timeout": "5s",
}
COUNTED = {"accepted": 21_000}


def test_configuration_is_valid_for_service(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    kafka = write_config(path, bootstrap="127.0.0.1:9092", streams=[STREAM])
    settings = load_settings(path, {})
    assert settings.kafka == kafka
    assert client.property_problems(kafka) == []
    assert kafka["bootstrap.servers"] == "127.0.0.1:9092"
    assert settings.http.port == 0
    assert settings.http.host == "127.0.0.1"
    (stream,) = settings.streams
    assert (stream.name, stream.windows, stream.idle_timeout) == ("digits", (86_400_000,), 5_000)
    assert [each.file for each in stream.baselines] == [tmp_path / "digits.safetensors"]
    topics = settings.topics
    internal = settings.partials_topic, settings.changelog_topic
    assert (*topics.events, topics.windows, topics.dead_letters, *internal) == TOPICS


def test_shards_equal_partitions_of_broker_topic(broker, tmp_path):
    write_config(tmp_path / "a.yaml", bootstrap=broker.bootstrap, streams=[STREAM])
    settings = load_settings(tmp_path / "a.yaml", {})
    known = client.admin(settings.kafka).list_topics(timeout=10).topics
    for topic in (settings.partials_topic, settings.changelog_topic):
        assert len(known[topic].partitions) == settings.shards


def test_configuration_comment_lists_changes_for_own_broker(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    kafka = write_config(path, bootstrap="127.0.0.1:9092", streams=[STREAM])
    comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    ours = {"topics.internal", "shards", "commit_interval"}
    for name in {*kafka, *ours} - {"bootstrap.servers", "group.id"}:
        assert name in comment


@pytest.fixture
def service(broker, tmp_path):
    save_baseline(tmp_path, "digits")
    config = tmp_path / "driftgauge.yaml"
    write_config(config, bootstrap=broker.bootstrap, streams=[STREAM])
    with ServiceProcess(config, tmp_path / "service.log", threading.Event()) as service:
        service.wait_until_ready()
        yield service


def published(broker, number, **fields):
    """Send events of one day to one partition."""
    producer = client.producer({"bootstrap.servers": broker.bootstrap})
    for row in range(number):
        value = build_event(MONDAY_MS + row, row % 4, stream="digits", **fields)
        producer.produce(EVENTS_TOPIC, value, partition=0)
    assert producer.flush(10) == 0
    return number


def accepted(service, number):
    """A scrape, once it shows as many events."""
    scrape = service.scrape()
    return scrape if scrape.outcomes().get("accepted", 0) >= number else None


def test_service_counts_all_events_on_embedded_broker(broker, service):
    number = published(broker, 300)
    scrape = service.wait_for("the events", lambda: accepted(service, number), lambda: "fewer")
    assert scrape.outcomes()["accepted"] == number
    assert set(scrape.mishaps().values()) == {0}
    check(build_days(), COUNTED, scrape.mishaps())


def test_events_deleted_before_read_fail_demo(broker, service):
    before = published(broker, 10)
    service.wait_for("the first events", lambda: accepted(service, before), lambda: "fewer")
    os.kill(service._process.pid, signal.SIGSTOP)
    try:
        # The broker keeps 5 MiB of a partition, and these are 8 MB.
        number = before + published(broker, 80, padding="x" * 100_000)
    finally:
        os.kill(service._process.pid, signal.SIGCONT)

    def marked():
        scrape = service.scrape()
        return scrape if scrape.mishaps()["commits that did not continue the previous one"] else None

    scrape = service.wait_for("the shards to miss the events", marked, lambda: service.scrape().text)
    assert scrape.outcomes()["accepted"] < number
    with pytest.raises(DemoError, match="commits that did not continue the previous one: "):
        check(build_days(), COUNTED, scrape.mishaps())
