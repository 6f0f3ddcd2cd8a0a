"""The broker of the tests: the messages of failed starts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.broker import Broker
from tests.harness.by_hand import serve_by_hand
from tests.harness.fixtures import ExternalCluster
from tests.harness.jars import BrokerUnavailable, copy_jars, find_java, kafka_version
from tests.harness.node import PortTakenError


@pytest.mark.broker
def test_start_on_taken_port_names_port(kafka_broker: Broker | ExternalCluster) -> None:
    if isinstance(kafka_broker, ExternalCluster):
        pytest.skip("Needs a port on this machine that surely is taken: unset TEST_BOOTSTRAP.")
    port = int(kafka_broker.bootstrap.rpartition(":")[2])
    second = Broker(port)
    with pytest.raises(PortTakenError, match=f":{port}"):
        second.start()
    assert not second.running


def test_slow_start_ends_in_a_sentence_with_its_remedy() -> None:
    def make() -> Broker:
        raise subprocess.TimeoutExpired(["java", "-version"], 300)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(
            SystemExit, match=r"java has not ended within 300 s.*end other programs"
        ) as caught:
            serve_by_hand("broker", make)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "\n" not in str(caught.value)


def copy_into_nothing() -> None:
    copy_jars(Path("no such folder"), kafka_version())


@pytest.mark.parametrize(
    ("scripts", "find", "problem"),
    [
        ({}, find_java, r"needs Java.*apt-get install.*TEST_BOOTSTRAP"),
        (
            {"java": "echo 'openjdk version \"11.0.2\"' >&2"},
            find_java,
            r"Java 17 or later, and .*/java is version \"11\.0\.2\"",
        ),
        ({}, copy_into_nothing, r"no mvn on the PATH.*apt-get install"),
        (
            {"mvn": "echo 'unknown host'; exit 1"},
            copy_into_nothing,
            r"(?s)could not fetch.*-Dkafka.version=4.*copy-dependencies.*unknown host",
        ),
    ],
    ids=["no Java", "an old Java", "no Maven", "a Maven that fails"],
)
def test_what_is_missing_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    scripts: dict[str, str],
    find: Callable[[], object],
    problem: str,
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, body in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o700)
    with pytest.raises(BrokerUnavailable, match=problem):
        find()
