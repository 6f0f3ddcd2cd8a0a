"""The page in Chromium, on a service that has counted the demo's three weeks on a real broker."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy.demo.digits import (
    CLUSTERS,
    EVENTS_PER_DAY,
    MODEL_VERSION,
    ImageQuality,
    TrafficSource,
    train_source,
)
from deploy.demo.traffic import DAYS_PER_WEEK
from playwright.sync_api import Browser, Page, expect

from driftgauge.baseline.artifact import save
from driftgauge.cli.publish import Publication, publish
from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp, parse_timestamp
from driftgauge.page.words import format_moment, format_p_value
from tests.cli.command import run
from tests.harness.case import DAY_MS, HOUR_MS, START_MS, Case
from tests.harness.service import ReplicaProcess
from tests.page.browser import chromium, visit

pytestmark = pytest.mark.stack

STREAM = "digits"
DAILY = f"/?stream={STREAM}&window=1d"
COMPARED = f"{DAILY}&at=2025-11-10T00:00:00Z&compare=2025-11-05T00:00:00Z"
WORDS = {"ok": "No drift found", "warning": "Possible drift", "drift": "Drift"}
SYMBOLS = {"ok": "✓", "warning": "!", "drift": "▲"}


@dataclass(frozen=True)
class LivePage:
    """A service that has counted three weeks, its source of events, and a browser."""

    case: Case
    service: ReplicaProcess
    source: TrafficSource
    browser: Browser

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def visit(self, **options: Any) -> AbstractContextManager[Page]:
        return visit(self.browser, self.origin, **options)

    def api(self, path: str) -> Any:
        status, body = self.service.get(f"/api/v1/{path}")
        assert status == 200, body
        return json.loads(body)

    def publish(self, stream: str, start_ms: int, qualities: list[ImageQuality]) -> None:
        """Publish a day of each quality, and wait until the page shows the last one."""
        end_ms = start_ms + len(qualities) * DAY_MS
        days = [self.source.draw(EVENTS_PER_DAY, quality) for quality in qualities]
        # Later events, on all partitions, close the last day.
        later = self.source.draw(100, ImageQuality.CLEAN)
        for images, begin_ms, span_ms in (
            (days, start_ms, end_ms - start_ms),
            ([later], end_ms, HOUR_MS * 3),
        ):
            publication = Publication.spread(
                topic=self.case.events_topic,
                stream=stream,
                vectors=np.concatenate([self.source.embed(each) for each in images]),
                start_ms=begin_ms,
                span_ms=span_ms,
                disorder_ms=0,
                seed=0,
                model_version=MODEL_VERSION,
            )
            publish(self.case.producer(), publication, rate=None)
        ends = (stream, "1d", format_timestamp(end_ms))
        self.service.wait_for(
            "the page to show the last day",
            lambda: (
                ends
                in {
                    (each["stream"], size["window"], size["newest"]["end"])
                    for each in self.api("streams")["streams"]
                    for size in each["sizes"]
                }
            ),
        )


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> Iterator[LivePage]:
    with chromium() as browser:
        case = Case(
            tmp_path_factory.mktemp("page"),
            bootstrap,
            windows=("12h", "1d"),
            streams=(),
            partitions=3,
            stream_settings={"allowed_disorder": "1h", "min_events": None, "idle_timeout": "10m"},
        )
        source = train_source()
        save(source.fit(STREAM, START_MS - DAY_MS), case.folder / f"{STREAM}.safetensors")
        case.streams = (STREAM,)
        case.write_config()
        with case.serve() as service:
            service.wait_until_ready()
            live = LivePage(case, service, source, browser)
            live.publish(
                STREAM, START_MS, [quality for quality in ImageQuality for _ in range(DAYS_PER_WEEK)]
            )
            yield live


def facts(page: Page) -> dict[str, str]:
    """Return what stands beside each name of the window's facts, in one line."""
    pairs = page.locator("dl.facts > div").all()
    return {
        pair.locator("dt").inner_text(): " ".join(pair.locator("dd").inner_text().split()) for pair in pairs
    }


def cells(page: Page, region: str) -> list[list[str]]:
    """Return the texts of the table whose name begins so, row by row, also where it is folded."""
    rows = page.locator(f'[aria-label^="{region}"] tbody tr').all()
    return [[" ".join(cell.split()) for cell in row.locator("th, td").all_text_contents()] for row in rows]


def number(value: float) -> str:
    return f"{value:#.3g}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


@pytest.mark.parametrize("window", ["12h", "1d"])
def test_numbers_of_page_equal_metrics(live: LivePage, window: str) -> None:
    scrape = live.service.scrape()

    def gauge(name: str, /, **labels: str) -> float:
        value = scrape.value(f"driftgauge_window_{name}", stream=STREAM, window=window, **labels)
        assert value is not None, name
        return value

    with live.visit() as page:
        page.goto(f"/?stream={STREAM}&window={window}")
        shown = facts(page)
        # The first cell holds a cluster's number, and its name if it has one.
        rows = cells(page, "Leading clusters")
        clusters = {row[0].split()[0]: row[1:] for row in rows}
        names = {number: " ".join(name) for number, *name in (row[0].split() for row in rows)}
        verdict = page.locator(".story .badge").inner_text()
    assert shown["Events"] == f"{gauge('events'):,.0f}"
    noise, excess = number(gauge("noise_floor")), number(gauge("excess", kind="mix"))
    assert shown["Divergence"] == f"{number(gauge('js_divergence'))} noise {noise} excess {excess}"
    assert shown["p-value"].removesuffix(" not calibrated") == format_p_value(gauge("p_value"))
    for title, value in {
        "Mean shift": number(gauge("excess", kind="shift")),
        "Novelty": percent(gauge("excess", kind="novelty")),
    }.items():
        assert shown[title].startswith(f"{value} p ")
    assert clusters.keys() == {str(cluster) for cluster in range(CLUSTERS)}
    for cluster, (_, share, _, part, *_) in clusters.items():
        of_cluster = {"cluster_id": cluster, "name": names[cluster]}
        assert share == percent(gauge("cluster_ratio", **of_cluster))
        contribution = abs(gauge("cluster_contribution", **of_cluster, kind="mix"))
        assert part == percent(contribution / gauge("js_divergence"))
    (found,) = (each for each in Verdict if gauge("verdict", verdict=each))
    assert verdict.endswith(WORDS[found])


def test_numbers_of_page_equal_api_and_csv(live: LivePage) -> None:
    with live.visit() as page:
        page.goto(DAILY)
        rows = cells(page, "Windows")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        text = Path(download.value.path()).read_text(encoding="utf-8")
        record = page.get_by_role("link", name="This window as JSON").get_attribute("href")
    windows = live.api(f"windows?stream={STREAM}&window=1d")["windows"][::-1]
    assert rows == [
        [
            format_moment(parse_timestamp(each["start"])),
            f"{SYMBOLS[each['verdict']]} {WORDS[each['verdict']]}",
            f"{each['count']:,}",
            number(each["js_divergence"]),
            number(each["noise_floor"]),
            format_p_value(each["p_value"]),
        ]
        for each in windows
    ]
    assert [each["verdict"] for each in windows] == ["drift"] * 14 + ["ok"] * 7
    assert [
        {name: row[name] for name in ("start", "verdict", "count", "js_divergence", "p_value")}
        for row in csv.DictReader(io.StringIO(text))
    ] == [
        {name: str(each[name]) for name in ("start", "verdict", "count", "js_divergence", "p_value")}
        for each in windows[::-1]
    ]
    newest = live.api(record.removeprefix("api/v1/"))
    assert newest == live.case.final_results()[STREAM, "1d", windows[0]["start"]]


def test_page_works_without_javascript(live: LivePage) -> None:
    with live.visit(java_script_enabled=False) as page:
        page.goto("/?q=no")
        expect(page.get_by_text("No stream matches")).to_be_visible()
        page.get_by_label("Name contains").fill("DIG")
        page.get_by_label("Status").select_option("Drift")
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("link", name=STREAM, exact=True).click()
        page.get_by_role("link", name="1d", exact=True).click()
        page.get_by_text("These windows as a table").click()
        page.get_by_role("link", name="5 Nov 2025, 00:00 UTC", exact=True).click()
        expect(page.locator(".which")).to_contain_text("The window of 1d from 5 Nov 2025")
        expect(page.locator(".story")).to_contain_text("No drift found")
        page.locator(".chart").first.locator("a").nth(8).click()
        expect(page.locator(".which")).to_contain_text("The window of 1d from 11 Nov 2025")
        page.get_by_role("link", name="later window").click()
        expect(page.locator(".which")).to_contain_text("The window of 1d from 12 Nov 2025")
        page.get_by_label("Compare with the window of").select_option("4 Nov 2025, 00:00 UTC: No drift found")
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", name="Compared with 4 Nov 2025")).to_be_visible()
        page.get_by_role("link", name="go to the newest").click()
        expect(page.locator(".which")).to_contain_text("The newest window of 1d from 23 Nov 2025")


def test_windows_of_chart_are_reached_by_keys(live: LivePage) -> None:
    with live.visit() as page:
        page.goto(DAILY)
        for _ in range(50):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('.chart') !== null"):
                break
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator(".which")).to_contain_text("The window of 1d from 22 Nov 2025")
        # Elsewhere on the page an arrow opens the neighbour at once, as soon as the script listens.
        page.wait_for_load_state()
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".which")).to_contain_text("The window of 1d from 21 Nov 2025")


def test_two_windows_are_compared_in_one_table(live: LivePage) -> None:
    with live.visit() as page:
        page.goto(COMPARED)
        rows = cells(page, "Comparison of two windows")
        clusters = {row[0].split()[0]: row[1:] for row in cells(page, "Leading clusters")}
        assert page.get_by_role("heading", name="Compared with").get_by_text("No drift found").is_visible()
    compared = [row for row in rows if len(row) > 1]
    assert len(compared) == min(CLUSTERS, 20)
    for cluster, baseline, _, share, _ in compared:
        if cluster.split()[0] in clusters:
            assert [baseline, share] == clusters[cluster.split()[0]][:2]


def test_mark_of_command_is_on_page_and_in_metrics(live: LivePage) -> None:
    arguments = ("--config", live.case.config, "--text", "v2 is live", "--at", "2025-11-09T23:48:00Z")
    wrong = ("--stream", "unknown"), ("--link", "javascript:x"), ("--at", "2999-11-09T23:48:00Z")
    for more, status in (*((each, 2) for each in wrong), ((), 0)):
        done = run("marks", "add", *arguments, *more)
        assert done.returncode == status, done.stderr
    live.service.wait_for(
        "the mark in the metrics",
        lambda: "v2 is live" in live.service.get("/metrics")[1],
    )
    with live.visit() as page:
        page.goto(DAILY)
        expect(page.get_by_role("region", name="Status")).to_contain_text("Before it: v2 is live")
        expect(page.locator(".chart .mark")).not_to_have_count(0)
