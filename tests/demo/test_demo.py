"""The demo: the whole of it with --keep until Ctrl-C, its check of the days, and its commands."""

import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from deploy.demo.__main__ import main
from deploy.demo.broker import TOPICS, EmbeddedBroker, write_config
from deploy.demo.digits import DAY_MS, ImageQuality, train_source
from deploy.demo.run import DemoError, check_days
from deploy.demo.traffic import LIVE_STREAM, Day, publish_until_stopped

from driftgauge.app import check
from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from tests.builders.clocks import MINUTE_MS, MONDAY_MS
from tests.demo.process import is_group_alive, read_until, started
from tests.harness.scrape import Scrape
from tests.waiting import wait_for

ROW = re.compile(
    r"^  (\d{4}-\d\d-\d\d)  (clean|blurred|darkened) +1,000 +(0\.\d{4}) +(0\.\d{4}) +(\d+\.\d)%  (\w+)$", re.M
)
MOMENT = r"(\d+ \w+ \d{4}, \d\d:\d\d) UTC"
FRESH = "driftgauge_events_total"


def read_url(printed, line):
    """Return what is served at the address in a printed line."""
    (url,) = re.findall(rf"{line}: (http://127\.0\.0\.1:\d+/\S+)\n", printed)
    with urlopen(url, timeout=300) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the demo, wait for live traffic, press Ctrl-C; return the demo's output and files."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with started(out, "--keep") as process:
        printed = read_until(process, "clean images.")

        def live_scrape():
            scrape = Scrape.parse(read_url(printed, "Metrics"))
            return scrape if scrape.value(FRESH, stream=LIVE_STREAM) else None

        live = wait_for("live events on /metrics", live_scrape, within_s=120)
        page = " ".join(re.sub(r"<[^>]+>", "", read_url(printed, "Open the page")).split())
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the service gets it as well
        return SimpleNamespace(
            out=out,
            live=live,
            page=page,
            printed=printed + process.stdout.read(),
            status=process.wait(),
            left=is_group_alive(process),
        )


# A command of the README that takes half a minute; the smoke test covers the service.
@pytest.mark.stack
def test_page_and_table_tell_of_three_weeks_until_now(finished):
    rows = ROW.findall(finished.printed)
    last = datetime.fromisoformat(rows[-1][0]).date()
    assert datetime.now(UTC).date() - last <= timedelta(days=2)
    assert [date for date, *_ in rows] == [str(last - timedelta(days=each)) for each in range(20, -1, -1)]
    weeks = [rows[:7], rows[7:14], rows[14:]]
    assert [{(row[1], row[5]) for row in week} for week in weeks] == [
        {("clean", "ok")},
        {("blurred", "drift")},
        {("darkened", "drift")},
    ]
    assert "As expected: divergence rose" in finished.printed
    began = re.search(rf"When Began between {MOMENT} and {MOMENT}, by windows of 1d", finished.page)
    earliest, latest = (
        datetime.strptime(each, "%d %b %Y, %H:%M").replace(tzinfo=UTC).date() for each in began.groups()
    )
    assert earliest <= last - timedelta(days=13) <= latest <= earliest + timedelta(days=2)
    assert "14 windows of 1d" in finished.page
    # Nothing is silent, behind or incomplete.
    assert "1d: " not in finished.page


@pytest.mark.stack
def test_live_traffic_follows_until_ctrl_c_which_ends_all_processes(finished):
    assert {outcome for outcome, number in finished.live.outcomes().items() if number} == {"accepted"}
    assert finished.status == 0, finished.printed
    assert not finished.left
    assert "Stopped the service and the broker." in finished.printed.splitlines()[-1]
    assert not re.search("rdkafka|Traceback|Warning", finished.printed)
    settings = load_settings(finished.out / "driftgauge.yaml", {})
    assert [stream.spec.name for stream in check(settings)[0]] == ["digits", LIVE_STREAM]
    assert '"event": "stopped"' in (finished.out / "service.log").read_text().splitlines()[-1]


@pytest.mark.stack
def test_ctrl_c_during_publishing_ends_all_processes(tmp_path):
    with started(tmp_path / "out") as process:
        read_until(process, "Publishing")
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stdout.read()
        assert process.wait() != 0
        assert not is_group_alive(process)
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("number", "change", "problem"),
    [
        (0, {}, None),
        (8, {"count": 999}, "2025-11-11: 999 events were counted, 1,000 were published"),
        (0, {"count": 2_000}, "2025-11-03: 2,000 events were counted, 1,000 were published"),
        (20, {"events_lost": True}, "2025-11-23: events may be lost"),
        (
            1,
            {"numbers": {"correct": 0.8}},
            "2025-11-04: an accuracy of 0.8000 was counted, 0.9000 sent",
        ),
        (
            3,
            {"js_divergence": 0.3},
            "the highest divergence of the clean week, 0.3000, is not below the lowest of the blurred week, ",
        ),
    ],
)
def test_demo_fails_unless_days_are_counted_once_and_drift_grows(number, change, problem):
    days, windows = [], []
    for day in range(21):
        days.append(Day(MONDAY_MS + day * DAY_MS, tuple(ImageQuality)[day // 7], 0.9))
        start = f"2025-11-{3 + day:02}T00:00:00Z"
        windows.append(
            {
                "start": start,
                "count": 1_000,
                "events_lost": False,
                "js_divergence": 10.0 ** (day // 7 - 2),
                "numbers": {"correct": 0.9},
            }
        )
    windows[number] |= change
    if problem is None:
        check_days(days, windows)
    else:
        with pytest.raises(DemoError, match=re.escape(problem)):
            check_days(days, windows)


def test_sigterm_stops_traffic_and_its_stream_must_be_configured(tmp_path):
    def publish(stream, bootstrap):
        entry = {"name": stream, "baseline": "b.safetensors", "windows": ["10s", "1m"]}
        write_config(tmp_path / "driftgauge.yaml", bootstrap=bootstrap, streams=[entry])
        settings = load_settings(tmp_path / "driftgauge.yaml", {})
        publish_until_stopped(settings, source, clock_ms=clock_ms, say=said.append)

    def clock_ms():
        # The second look is within the traffic, when its handler is in place.
        if said:
            os.kill(os.getpid(), signal.SIGTERM)
        return MONDAY_MS + (MINUTE_MS if said else 0)

    said, source = [], train_source()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with EmbeddedBroker(TOPICS) as broker:
            publish(LIVE_STREAM, broker.bootstrap)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert said == ["A week of 7 days of 10s: clean images."]
    with pytest.raises(ConfigError, match="has no stream digits-live"):
        publish("digits", "localhost:1")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["prepare"], "Missing option '--out'"),
        (["--keep", "prepare", "--out", "."], "--keep before prepare has no effect; remove it"),
        (["publish", "--config", "absent.yaml"], "demo: absent.yaml cannot be read"),
        (["--out", "file/out"], "cannot create the folder: Not a directory; name another with --out"),
    ],
)
def test_user_error_prints_one_message_and_exits_with_2(arguments, part, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert part in printed.err
    assert printed.out == ""
