"""Draws the page in eight situations of known truth, to be looked at.

Run: `python -m tests.page.pictures FOLDER`. Each is drawn at 1,440 and 390 pixels, light and dark.
"""

import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from driftgauge.events.records import StoredRecord
from driftgauge.page.marks import Marks
from driftgauge.records.mark import Mark
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import serving_by
from tests.builders.truth import TrueResults, Truth, configure
from tests.page.browser import chromium, visit

_HOURS = 8 * 24 + 15
SITUATIONS = {
    # All inputs shift.
    "vision-checkout": Truth(_HOURS, shifted=7 * 24 + 8),
    # Those of one segment do.
    "shelf-cameras": Truth(_HOURS, shifted_dock=6 * 24),
    # A new topic grows.
    "search-queries": Truth(_HOURS, growing=2 * 24, by_day=60, by_night=60),
    # The baseline never fitted.
    "parcel-photos": Truth(_HOURS, shifted=0),
    # A baseline that holds the shifted inputs ends the alarm.
    "returns-photos": Truth(_HOURS, shifted=4 * 24, renewed=6 * 24),
    # A partition is not read.
    "gate-cameras": Truth(_HOURS, quiet=frozenset(range(52, 58)), unread=_HOURS - 1),
    "catalogue-images": Truth(_HOURS),
    # A night after eight days were read at once.
    "support-tickets": Truth(8 * 24 + 4, backfilled=8 * 24 + 1),
}
"""What happens to each stream; the names say nothing of it, so that people can be asked."""

_RELEASE = Mark(
    time=MONDAY_MS + 4 * 24 * HOUR_MS - 20 * MINUTE_MS, text="release 2025.11.2", stream="returns-photos"
)


def main(folder: Path) -> None:
    """Draw every situation into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    marks = Marks()
    marks.receive(StoredRecord(_RELEASE.model_dump_json().encode(), stored_ms=_RELEASE.time))
    with TemporaryDirectory() as place, chromium() as browser:
        settings = configure(Path(place), SITUATIONS)
        for name, truth in SITUATIONS.items():
            results = TrueResults(settings, name, truth)
            with serving_by(settings, results, results.now_ms, marks) as server:
                origin = f"http://127.0.0.1:{server.port}"
                for width, theme in product((1_440, 390), ("light", "dark")):
                    with visit(browser, origin, width=width, color_scheme=theme) as page:
                        page.goto(f"/?stream={name}")
                        page.screenshot(
                            path=folder / f"{name}-{width}-{theme}.png", full_page=theme == "dark"
                        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
