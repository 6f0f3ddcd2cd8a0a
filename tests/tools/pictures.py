"""Draws the README's picture of the page: runs the demo, and opens its page in Chromium.

Run: `make pictures`.
"""

import os
import re
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.demo.process import read_until, started
from tests.page.browser import chromium

PICTURE = Path(__file__).parents[2] / "deploy/pictures/page.png"
# The top of the page: the status, and the evidence over time.
WIDTH, HEIGHT, SCALE = 1_060, 1_090, 1.3


def main() -> None:
    if shutil.which("chromium") is None:
        sys.exit("there is no chromium on the PATH: install it with `apt-get install -y chromium`")
    with (
        TemporaryDirectory() as folder,
        started(Path(folder) / "demo", "--keep") as demo,
        chromium() as browser,
    ):
        printed = read_until(demo, "Open the page:")
        click.echo(printed, nl=False)
        found = re.search(r"Open the page: (\S+)", printed)
        if found is None:
            sys.exit("the demo ended before its page was there; see above")
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        page.goto(found[1])
        page.screenshot(path=PICTURE)
        os.killpg(demo.pid, signal.SIGINT)
    click.echo(f"Drew {PICTURE}, {PICTURE.stat().st_size / 1_000:.0f} kB")


if __name__ == "__main__":
    main()
