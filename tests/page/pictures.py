"""Draws the page in eight situations of known truth, to be looked at.

Run: `python -m tests.page.pictures FOLDER`. Each is drawn at 1,440 and 390 pixels, light and dark.
"""

import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from driftgauge.config import Settings
from driftgauge.events.records import StoredRecord
from driftgauge.page.marks import Marks
from driftgauge.page.results import Results
from driftgauge.records.mark import Mark
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.page import MadeSource, serving_by
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
_STREAMS = 40


def main(folder: Path) -> None:
    """Draw every situation into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    marks = Marks()
    marks.receive(StoredRecord(_RELEASE.model_dump_json().encode(), stored_ms=_RELEASE.time))
    with TemporaryDirectory() as place:
        settings = configure(Path(place), SITUATIONS)
        every = {name: TrueResults(settings, name, truth) for name, truth in SITUATIONS.items()}
        for name, results in every.items():
            draw(folder / name, settings, results, results.now_ms, f"/?stream={name}", marks)
        calm = "catalogue-images"
        names = {each: each for each in [*every][:6]}
        names |= {f"{calm}-{number:02}": calm for number in range(_STREAMS - len(names))}
        labels = [
            {"owner": "vision@example.com", "severity": each} for each in ("critical", "warning", "info")
        ]
        settings = settings_in(
            Path(place),
            *(
                # Those that are drawn by themselves have the labels that they have there.
                {
                    "baseline": f"{calm}.safetensors",
                    "name": each,
                    "labels": labels[0 if each in every else number % 3],
                }
                for number, each in enumerate(names)
            ),
        )
        together, now_ms = Results(settings.by_stream, 100_000), every[calm].now_ms
        together.source = MadeSource()
        for name, was in names.items():
            for value in every[was].made.values:
                renamed = value.replace(f'"{was}"'.encode(), f'"{name}"'.encode(), 1)
                together.receive(StoredRecord(renamed, stored_ms=now_ms))
        draw(folder / "forty-streams", settings, together, now_ms, "/", marks)


def draw(path: Path, settings: Settings, results: Results, now_ms: int, address: str, marks: Marks) -> None:
    """Draw one address at both widths and in both themes."""
    with serving_by(settings, results, now_ms, marks) as server, chromium() as browser:
        for width, theme in product((1_440, 390), ("light", "dark")):
            with visit(browser, f"http://127.0.0.1:{server.port}", width=width, color_scheme=theme) as page:
                page.goto(address)
                page.screenshot(path=f"{path}-{width}-{theme}.png", full_page=theme == "dark")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
