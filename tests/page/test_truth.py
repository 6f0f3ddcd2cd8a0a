"""Streams whose truth is known, judged by the core: what the link of any alert shows of them."""

import re
from pathlib import Path

import pytest
from deploy.generate.alerts import groups

from driftgauge.core.durations import format_duration
from tests.builders.html import Elements
from tests.builders.page import get, serving_by
from tests.builders.truth import TrueResults, configure

RUNBOOKS = Path(__file__).parents[2] / "deploy/runbooks"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return configure(tmp_path_factory.mktemp("truth"))


def alert_links(results):
    """The links of alerts about each window size: all name the newest window, by the last moment in it."""
    pages = {rule["annotations"].get("page", "") for group in groups() for rule in group["rules"]} - {""}
    assert all("window_end_timestamp_seconds%s * 1000 - 1" in page for page in pages)
    for series in results.history.series():
        end_ms = int(results.history.windows(series)["start_ms"][-1]) + series.size_ms
        yield f"/?stream={series.stream}&window={format_duration(series.size_ms)}&at={end_ms - 1}"


@pytest.mark.parametrize(
    ("stream", "parts", "runbook"),
    [
        # It is night, so the newest hours have too few events.
        pytest.param(
            "images",
            [
                "First seen between 7 Nov 2025, 00:00 UTC and 8 Nov 2025, 00:00 UTC (1d: camera = dock-2).",
                "first seen between 8 Nov 2025, 09:00 UTC and 8 Nov 2025, 10:00 UTC (1h).",
                "Shift: inputs moved together",
                "(mean shift 0.317); first in camera = dock-2",
                "Last confirmed 10 Nov 2025, 00:00 UTC",
                "1h: too few events to see anything for 6 h",
                "Find what else changed between 6 Nov 2025, 00:00 UTC and 8 Nov 2025, 00:00 UTC",
                "Look for what touches all these inputs",
            ],
            "DriftgaugeDrift",
            id="one segment first, then everywhere",
        ),
        pytest.param(
            "texts",
            [
                "Drift First seen between 7 Nov 2025, 00:00 UTC and 8 Nov 2025, 00:00 UTC (1d)",
                "Novelty: some events lie where the baseline has none (novelty 2.5 %)",
                "Log some events far from every cluster",
            ],
            "DriftgaugeDrift",
            id="a topic grows slowly",
        ),
        pytest.param(
            "gaps",
            ["Incomplete", "1h: embeddings[1] not read to the end for 2 h", "a corrected window follows"],
            "DriftgaugeWindowsInconclusive",
            id="gaps, nights and an incomplete window",
        ),
        pytest.param(
            "frames",
            [
                "No drift found",
                # Two windows of three: the alarm ends an hour after the frame.
                "An alarm of 1h has passed, from 4 Nov 2025, 09:00 UTC to 4 Nov 2025, 15:00 UTC",
                "Duplicates: an item is repeated (duplicates 28 %)",
                "find what the drift was",
            ],
            "DriftgaugeDrift",
            id="one frame repeated for five hours",
        ),
        # It began at 06:00; the warnings that go on began at 16:00.
        pytest.param(
            "little",
            [
                "Possible drift Since about 4 Nov 2025, 07:00 UTC (1h)",
                "No single window stands out, but together they do",
                "Find what changed at about 4 Nov 2025, 07:00 UTC",
            ],
            "DriftgaugeSlowDrift",
            id="slow drift",
        ),
    ],
)
def test_link_of_an_alert_shows_alarm_start_cause_and_next_step(settings, stream, parts, runbook):
    results = TrueResults(settings, stream)
    with serving_by(settings, results, results.now_ms) as server:
        links = list(alert_links(results))
        assert links
        for link in links:
            response, body = get(server, link)
            assert response.status == 200
            (section,) = re.findall(r'<section class="verdict .*?</section>', body, re.DOTALL)
            shown = Elements(section)
            assert [part for part in parts if part not in shown.text] == [], shown.text
            assert f"runbooks/{runbook}.md" in " ".join(shown.every("a", "href"))
            assert "mailto:vision@example.com" in shown.every("a", "href")
    assert (RUNBOOKS / f"{runbook}.md").exists()
