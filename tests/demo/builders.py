"""Builders of the demo's tests: all images, and days with expected results."""

import numpy as np
from deploy.demo.days import DAY_MS, Day
from deploy.demo.digits import DigitImages, ImageQuality, split_digits

from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import parse_timestamp

PARTS = ("training", "reference", "traffic")
SPLIT = split_digits(0)
EVERY = DigitImages(
    np.concatenate([getattr(SPLIT, part).pixels for part in PARTS]),
    np.concatenate([getattr(SPLIT, part).labels for part in PARTS]),
)
FIRST_DAY_MS = parse_timestamp("2025-11-03T00:00:00Z")


def build_day(number=0, quality=ImageQuality.CLEAN, divergence=0.002, **changes):
    fields = {
        "start_ms": FIRST_DAY_MS + number * DAY_MS,
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


def build_days(divergences=(0.002, 0.1, 0.6), per_week=7):
    """Return three weeks with the expected results."""
    return [
        build_day(week * per_week + number, quality, divergence, accuracy=0.96 - week / 3)
        for week, (quality, divergence) in enumerate(zip(ImageQuality, divergences, strict=True))
        for number in range(per_week)
    ]
