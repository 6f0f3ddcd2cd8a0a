"""Draws the documents' pictures of the page in Chromium: of the demo, and of what troubleshooting explains.

Run: `make pictures`.
"""

import os
import re
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from playwright.sync_api import Browser

from tests.builders.clocks import MINUTE_MS
from tests.builders.heartbeats import beat, build_watch
from tests.builders.page import serving_by
from tests.builders.truth import SITUATIONS, TrueResults, configure
from tests.demo.process import read_until, started
from tests.page.browser import chromium

PICTURES = Path(__file__).parents[2] / "deploy/pictures"
HEIGHT = 1_090
STREAM = "images"
# What happens to it, and what the replica says meanwhile, by the picture.
TROUBLES: dict[str, tuple[str, dict[str, Any]]] = {
    "held-up": ("gate-cameras", {"blocked": {"transaction": ("embeddings[1]",)}}),
    "refused": (
        "catalogue-images",
        {
            "accepted": {STREAM: 2_700},
            "read": {"embeddings": 3_000},
            "refused": {("embeddings", STREAM, "wrong_dimension"): 300},
        },
    ),
}
TROUBLE_WIDTH = 860


def main() -> None:
    if shutil.which("chromium") is None:
        sys.exit("there is no chromium on the PATH: install it with `apt-get install -y chromium`")
    with TemporaryDirectory() as folder, chromium() as browser:
        draw_demo(Path(folder), browser)
        draw_troubles(Path(folder), browser)
    for picture in sorted(PICTURES.glob("*.png")):
        click.echo(f"Drew {picture}, {picture.stat().st_size / 1_000:.0f} kB")


def draw_demo(folder: Path, browser: Browser) -> None:
    """Draw the top of the demo's page."""
    with started(folder / "demo", "--keep") as demo:
        printed = read_until(demo, "Open the page:")
        click.echo(printed, nl=False)
        found = re.search(r"Open the page: (\S+)", printed)
        if found is None:
            sys.exit("the demo ended before its page was there; see above")
        # The top of the page: the status, and the evidence over time.
        page = browser.new_page(viewport={"width": 1_060, "height": HEIGHT}, device_scale_factor=1.3)
        page.goto(found[1])
        page.screenshot(path=PICTURES / "page.png")
        os.killpg(demo.pid, signal.SIGINT)


def draw_troubles(folder: Path, browser: Browser) -> None:
    """Draw the top of a stream's page, down to its status, for each of the troubles."""
    for name, (situation, heartbeat) in TROUBLES.items():
        truth = SITUATIONS[situation]
        settings = configure(folder, {STREAM: truth})
        results = TrueResults(settings, STREAM, truth)
        watch = build_watch(results.now_ms - 50 * MINUTE_MS, **heartbeat)
        beat(watch, results.now_ms, "a", **heartbeat)
        with serving_by(settings, results, results.now_ms, watch=watch) as server:
            page = browser.new_page(viewport={"width": TROUBLE_WIDTH, "height": HEIGHT})
            page.goto(f"http://127.0.0.1:{server.port}/?stream={STREAM}")
            bottom = page.evaluate("document.querySelector('.verdict').getBoundingClientRect().bottom")
            clip = {"x": 0, "y": 0, "width": TROUBLE_WIDTH, "height": bottom + 16}
            page.screenshot(path=PICTURES / f"{name}.png", clip=clip)


if __name__ == "__main__":
    main()
