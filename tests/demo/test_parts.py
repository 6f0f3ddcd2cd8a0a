"""The demo's parts: images, network and weeks, results and picture, configuration, live traffic, command."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import orjson
import pytest
from deploy.demo import service_process
from deploy.demo.__main__ import main
from deploy.demo.config import EVENTS_TOPIC, TOPICS, write_config
from deploy.demo.days import TABLE_HEAD, Day, check, table_row, week_rows
from deploy.demo.digits import ImageQuality
from deploy.demo.errors import DemoError
from deploy.demo.live import LIVE_STREAM, live_periods, publish_live, publish_until_stopped
from deploy.demo.picture import draw
from deploy.demo.service_process import ServiceProcess
from deploy.demo.source import TrafficSource

from driftgauge.config import load_settings
from driftgauge.core.windows.result import Verdict
from driftgauge.errors import ConfigError
from driftgauge.kafka import client
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, MINUTE_MS, MONDAY_MS
from tests.builders.events import build_event
from tests.deploy.dockerfile import ROOT
from tests.kafka.producers import RecordingProducer
from tests.processes import run_command


def build_day(
    number: int = 0, quality: ImageQuality = ImageQuality.CLEAN, divergence: float = 0.002, **changes: Any
) -> Day:
    fields = {
        "start_ms": MONDAY_MS + number * DAY_MS,
        "quality": quality,
        "published": 1_000,
        "accuracy": 0.96,
        "events": 1_000,
        "events_lost": False,
        "js_divergence": divergence,
        "noise_floor": 0.002,
        "verdict": Verdict.OK,
    }
    return Day(**{**fields, **changes})


def build_days(divergences: Sequence[float] = (0.002, 0.1, 0.6), per_week: int = 7) -> list[Day]:
    """Return three weeks with the expected results."""
    return [
        build_day(week * per_week + number, quality, divergence, accuracy=0.96 - week / 3)
        for week, (quality, divergence) in enumerate(zip(ImageQuality, divergences, strict=True))
        for number in range(per_week)
    ]


PARTS = ("training", "reference", "traffic")
NOON_MS = 1_764_072_000_000  # 2025-11-25T12:00:00Z
CLEAN, BLURRED, DARKENED = ImageQuality
STREAM: dict[str, object] = {
    "name": "digits",
    "baseline": "digits.safetensors",
    "windows": ["1d"],
    "idle_timeout": "5s",
}


def changed(number, **changes):
    days = build_days()
    day = days[number]
    fields = {name: getattr(day, name) for name in ("quality", "published", "accuracy", "events")}
    days[number] = build_day(number, **{**fields, "divergence": day.js_divergence, **changes})
    return days


@pytest.mark.parametrize(
    ("days", "outcomes", "mishaps", "problems"),
    [
        (build_days(), {}, {}, []),
        (changed(8, events=999), {}, {}, ["2025-11-11: 999 events were counted, 1,000 were published"]),
        (changed(0, events=2_000), {}, {}, ["2025-11-03: 2,000 events were counted, 1,000 were published"]),
        (changed(20, events_lost=True), {}, {}, ["2025-11-23: events may be lost"]),
        (
            build_days(),
            {"accepted": 20_999},
            {},
            ["21,000 events were published, and the service accepted 20,999"],
        ),
        (
            build_days(),
            {"late": 2, "invalid": 1_000},
            {},
            ["the service rejected 2 events as late", "the service rejected 1,000 events as invalid"],
        ),
        (build_days(), {}, {"records lost": 1_200, "aborted": 0}, ["records lost: 1,200"]),
        (
            changed(3, divergence=0.3),
            {},
            {},
            [
                "the highest divergence of the clean week, 0.3000, is not below the lowest of the blurred "
                "week, 0.1000"
            ],
        ),
        (
            changed(20, divergence=0.05),
            {"accepted": 7},
            {"records lost": 2},
            [
                "21,000 events were published, and the service accepted 7",
                "records lost: 2",
                "the highest divergence of the blurred week, 0.1000, is not below the lowest of the darkened "
                "week, 0.0500",
            ],
        ),
    ],
)
def test_results_are_checked_and_all_problems_reported(days, outcomes, mishaps, problems):
    def found():
        try:
            check(days, {"accepted": 21_000, "late": 0, **outcomes}, {"sessions lost": 0, **mishaps})
        except DemoError as error:
            return str(error).split("\n  - ")[1:]
        return []

    assert sorted(found()) == sorted(problems)


def test_days_and_weeks_are_printed_and_drawn(tmp_path, snapshot):
    days = build_days((0.004, 0.1, 0.6))
    days[1] = build_day(1, CLEAN, 0.006, accuracy=0.94)
    rows = [table_row(day) for day in days]
    weeks = week_rows(days)
    assert rows[7].split() == ["2025-11-10", "blurred", "1,000", "0.1000", "0.0020", "62.7%", "ok"]
    assert "300.0 times the noise floor" in weeks[2]
    assert "\n".join([TABLE_HEAD, *rows, *weeks]) == snapshot
    for drawn in (days, days[:1]):
        draw(drawn, tmp_path / "drift.png")
        assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DemoError, match=r"drift\.png: cannot write the picture: No such file .*; name a"):
        draw(days, tmp_path / "missing" / "drift.png")


def test_configuration_is_valid_for_service_and_says_what_to_change(broker, tmp_path):
    path = tmp_path / "driftgauge.yaml"
    kafka = write_config(path, bootstrap=broker.bootstrap, streams=[STREAM])
    settings = load_settings(path, {})
    assert settings.kafka == kafka
    assert client.property_problems(kafka) == []
    assert kafka["bootstrap.servers"] == broker.bootstrap
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 0)
    (stream,) = settings.streams
    assert (stream.name, stream.windows, stream.idle_timeout) == ("digits", (86_400_000,), 5_000)
    assert [each.file for each in stream.baselines] == [tmp_path / "digits.safetensors"]
    topics, internal = settings.topics, (settings.partials_topic, settings.changelog_topic)
    assert (*topics.events, topics.windows, topics.dead_letters, *internal) == TOPICS
    known = client.admin(settings.kafka).list_topics(timeout=60).topics
    assert {len(known[topic].partitions) for topic in internal} == {settings.shards}
    comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    ours = {"topics.internal", "shards", "commit_interval", "allowed_age"}
    for name in {*kafka, *ours} - {"bootstrap.servers", "group.id"}:
        assert name in comment


@pytest.fixture
def _patient(monkeypatch):
    """Wait longer than a person in front of the demo would: other programs may keep this machine busy."""
    for name in ("_WAIT_TIMEOUT_S", "_STOP_TIMEOUT_S", "_REQUEST_TIMEOUT_S"):
        monkeypatch.setattr(service_process, name, 600.0)


def published(broker, number, **fields):
    """Send events of one day to one partition."""
    producer = client.producer({"bootstrap.servers": broker.bootstrap})
    for row in range(number):
        value = build_event(MONDAY_MS + row, row % 4, stream="digits", **fields)
        producer.produce(EVENTS_TOPIC, value, partition=0)
    assert producer.flush(60) == 0
    return number


@pytest.mark.usefixtures("_patient")
def test_service_counts_events_and_lost_ones_fail_the_demo(broker, tmp_path):
    save_baseline(tmp_path, "digits")
    config = tmp_path / "driftgauge.yaml"
    write_config(config, bootstrap=broker.bootstrap, streams=[STREAM])

    def when(condition):
        def met():
            scrape = service.scrape()
            return scrape if condition(scrape) else None

        return service.wait_for("the events", met, lambda: service.scrape().text)

    with ServiceProcess(config, tmp_path / "service.log", threading.Event()) as service:
        service.wait_until_ready()
        before = published(broker, 300)
        scrape = when(lambda scrape: scrape.outcomes().get("accepted", 0) >= before)
        assert scrape.outcomes()["accepted"] == before
        check(build_days(), {"accepted": 21_000}, scrape.mishaps())
        os.kill(service._process.pid, signal.SIGSTOP)
        try:
            # The broker keeps 5 MiB of a partition, and these are 8 MB.
            number = before + published(broker, 80, padding="x" * 100_000)
        finally:
            os.kill(service._process.pid, signal.SIGCONT)
        scrape = when(lambda scrape: scrape.mishaps()["commits that did not continue the previous one"])
    assert scrape.outcomes()["accepted"] < number
    with pytest.raises(DemoError, match="commits that did not continue the previous one: "):
        check(build_days(), {"accepted": 21_000}, scrape.mishaps())


@pytest.mark.parametrize("late_ms", [0, 47_300])
def test_live_weeks_last_seven_days_from_now_and_repeat_after_the_third(late_ms):
    periods = [*islice(live_periods(NOON_MS + late_ms, MINUTE_MS), 28 * 60)]
    starts = [start_ms for start_ms, _ in periods]
    assert starts[0] == (NOON_MS + late_ms) // 1_000 * 1_000
    assert set(np.diff(starts)) == {1_000}
    weeks = [CLEAN, BLURRED, DARKENED, CLEAN, BLURRED]
    assert {(start_ms - NOON_MS) // MINUTE_MS // 7: quality for start_ms, quality in periods} == dict(
        enumerate(weeks[: 5 if late_ms else 4])
    )
    assert all(quality == weeks[(start_ms - NOON_MS) // MINUTE_MS // 7] for start_ms, quality in periods)


@pytest.fixture
def source(network, split):
    return TrafficSource(network, split.held_out, np.random.default_rng(3))


def test_publish_live_fills_every_elapsed_second(source):
    def stop_after_nine():
        if next(calls) == 9:
            raise KeyboardInterrupt

    said, producer, calls = [], RecordingProducer(), count()
    with pytest.raises(KeyboardInterrupt):
        publish_live(
            producer,
            source,
            topic=EVENTS_TOPIC,
            day_ms=1_000,
            # A clock far ahead of all that is due: nothing is waited for.
            clock_ms=iter([NOON_MS, *[NOON_MS + MINUTE_MS] * 9]).__next__,
            check=stop_after_nine,
            say=said.append,
        )
    events = [orjson.loads(value) for _, value in producer.sent]
    assert {(event["stream"], len(event["embedding"])) for event in events} == {(LIVE_STREAM, 32)}
    seconds = np.array([event["timestamp"] - NOON_MS for event in events]) // 1_000
    assert (np.bincount(seconds) == 20).all()
    assert said == [
        "A week of 7 days of 1s: clean images.",
        "A week of 7 days of 1s: blurred images.",
    ]


def test_sigterm_stops_traffic_and_its_stream_must_be_configured(tmp_path, broker, source):
    def publish(stream, clock_ms):
        entry = {"name": stream, "baseline": "b.safetensors", "windows": ["10s", "1m"]}
        write_config(tmp_path / "driftgauge.yaml", bootstrap=broker.bootstrap, streams=[entry])
        settings = load_settings(tmp_path / "driftgauge.yaml", {})
        publish_until_stopped(settings, source, clock_ms=clock_ms, say=said.append)

    def clock_ms():
        # The second look is within the traffic, when its handler is in place.
        if said:
            os.kill(os.getpid(), signal.SIGTERM)
        return NOON_MS + (MINUTE_MS if said else 0)

    said = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        publish(LIVE_STREAM, clock_ms)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert said == ["A week of 7 days of 10s: clean images."]
    with pytest.raises(ConfigError, match="has no stream digits-live"):
        publish("digits", lambda: NOON_MS)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["prepare"], "Missing option '--out'"),
        (["--keep", "prepare", "--out", "."], "--keep before prepare has no effect; remove it"),
        (["--out", ".", "publish"], "--out before publish has no effect; remove it"),
        (["prepare", "--out", "absent"], "demo: absent/network.safetensors: cannot write"),
        (["publish", "absent", "--config", "absent.yaml"], "demo: absent.yaml cannot be read"),
    ],
)
def test_user_error_prints_one_message_and_exits_with_2(arguments, part, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert part in printed.err
    assert printed.out == ""


def test_uncreatable_folder_is_reported_with_remedy(tmp_path):
    (tmp_path / "file").touch()
    done = run_command(sys.executable, "-m", "deploy.demo", "--out", tmp_path / "file" / "out", cwd=ROOT)
    assert done.returncode == 2
    assert "cannot create the folder: Not a directory; name another with --out" in done.stderr
    assert "Traceback" not in done.stderr
