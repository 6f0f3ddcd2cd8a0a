"""Builders of the demo's days, with the expected results."""

from collections.abc import Sequence
from typing import Any

from deploy.demo.days import Day
from deploy.demo.digits import ImageQuality

from driftgauge.core.windows.result import Verdict
from tests.builders.clocks import DAY_MS, MONDAY_MS


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
