"""The whole demo with --keep, until Ctrl-C."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from driftgauge.app import check
from driftgauge.config import load_settings
from driftgauge.core.windows.result import Verdict
from tests.demo.process import is_group_alive, read_until, started
from tests.harness.demo import Scrape
from tests.waiting import wait_for

# A command of the README that takes half a minute; the smoke test covers the service.
pytestmark = pytest.mark.stack

ROW = re.compile(
    r"^  (2025-11-\d\d)  (clean|blurred|darkened) +1,000 +(0\.\d{4}) +(0\.\d{4}) +(\d+\.\d)%  (\w+)$", re.M
)

FRESH = {"name": "driftgauge_events_total", "stream": "digits-live"}


@dataclass(frozen=True)
class DemoRun:
    out: Path
    printed: str
    status: int
    live: Scrape
    page: str
    left: bool


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the demo, wait for live traffic, press Ctrl-C; return the demo's output and files."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with started(out, "--keep") as process:
        printed = read_until(process, "clean images.")
        live = wait_for_traffic(printed)
        page = text_of_page(printed)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the service gets it as well
        printed += process.stdout.read()
        status = process.wait()
        return DemoRun(out, printed, status, live, page, is_group_alive(process))


def wait_for_traffic(printed):
    """Return a scrape of the printed address, as soon as it shows live events."""
    url = re.search(r"Metrics: (http://127\.0\.0\.1:\d+/metrics)\n", printed)
    assert url, printed

    def live_scrape():
        with urlopen(url[1], timeout=300) as answer:
            scrape = Scrape.parse(answer.read().decode())
        return scrape if scrape.value(**FRESH) else None

    return wait_for("live events on /metrics", live_scrape, within_s=120)


def text_of_page(printed):
    """Return the words of the page at the printed address."""
    url = re.search(r"Open the page: (http://127\.0\.0\.1:\d+/\?stream=digits)\n", printed)
    assert url, printed
    with urlopen(url[1], timeout=300) as answer:
        return " ".join(re.sub(r"<[^>]+>", "", answer.read().decode()).split())


def test_page_tells_the_story(finished):
    for part in (
        "Drift since 10 Nov 2025, 00:00 UTC",
        "14 windows of 1d",
        "Practically certain: chance would not produce this.",
        "went from",
    ):
        assert part in finished.page


def test_live_traffic_follows_until_ctrl_c_which_ends_all_processes(finished):
    assert finished.live.value(**FRESH) > 0
    assert {outcome for outcome, number in finished.live.outcomes().items() if number} == {"accepted"}
    assert finished.status == 0, finished.printed
    assert not finished.left
    assert "Stopped the service and the broker." in finished.printed.splitlines()[-1]
    assert not re.search("rdkafka|Traceback|Warning", finished.printed)
    assert "without restore" in finished.printed


def test_daily_results_match_expectation(finished):
    rows = ROW.findall(finished.printed)
    assert [date for date, *_ in rows] == [f"2025-11-{day:02}" for day in range(3, 24)]
    weeks = [rows[:7], rows[7:14], rows[14:]]
    assert [{(row[1], row[5]) for row in week} for week in weeks] == [
        {("clean", "ok")},
        {("blurred", "drift")},
        {("darkened", "drift")},
    ]
    clean, blurred, darkened = ([float(row[2]) for row in week] for week in weeks)
    assert max(clean) < min(blurred) < max(blurred) < min(darkened)
    assert sum(clean) / 7 < 2 * max(float(row[3]) for row in rows)
    clean, blurred, darkened = ([float(row[4]) for row in week] for week in weeks)
    assert min(clean) > max(blurred) > min(blurred) > max(darkened)
    assert "As expected: divergence rose" in finished.printed
    assert "every event was counted once" in finished.printed


def test_saved_metrics_show_last_day_and_all_events(finished):
    scrape = Scrape.parse((finished.out / "metrics.txt").read_text())
    assert scrape.outcomes()["accepted"] == sum(scrape.outcomes().values()) == 21_000
    assert set(scrape.mishaps().values()) == {0}
    daily = {"stream": "digits", "window": "1d"}
    closed = {
        verdict.value: scrape.value("driftgauge_windows_closed_total", **daily, verdict=verdict)
        for verdict in Verdict
    }
    # Weeks 2 and 3; the clean week is no drift.
    assert (sum(closed.values()), closed["incomplete"], closed["drift"]) == (21, 0, 14)
    assert scrape.value("driftgauge_window_verdict", **daily, verdict="drift") == 1
    assert scrape.value("driftgauge_window_revisions_total", **daily) == 0
    assert scrape.value("driftgauge_window_end_timestamp_seconds", **daily) == 1_763_942_400  # 24 November


def test_folder_holds_picture_configuration_baseline_and_log(finished):
    out = finished.out
    assert f"Drew the picture: {out / 'drift.png'}" in finished.printed
    assert (out / "drift.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    settings = load_settings(out / "driftgauge.yaml", {})
    assert settings.streams[0].baselines[0].file == out / "digits.safetensors"
    spec, _ = (stream.spec for stream in check(settings))
    centroids = spec.baselines[0].reference.centroids
    assert (spec.name, centroids.clusters, centroids.dimension) == ("digits", 10, 32)
    assert '"event": "stopped"' in (out / "service.log").read_text().splitlines()[-1]


def test_ctrl_c_during_publishing_ends_all_processes(tmp_path):
    with started(tmp_path / "out") as process:
        read_until(process, "Publishing")
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stdout.read()
        assert process.wait() != 0
        assert not is_group_alive(process)
    assert "Traceback" not in printed
