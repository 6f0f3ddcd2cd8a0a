"""What the demo's tests are made of: every image, and days as the story would tell them."""

import numpy as np
from deploy.demo.days import DAY_MS, Day
from deploy.demo.digits import Condition, Images, split_digits

from driftgauge.core.result import Verdict
from driftgauge.events.timestamps import parse_timestamp

PARTS = ("training", "reference", "traffic")
SPLIT = split_digits(0)
EVERY = Images(
    np.concatenate([getattr(SPLIT, part).pixels for part in PARTS]),
    np.concatenate([getattr(SPLIT, part).labels for part in PARTS]),
)
FIRST_DAY_MS = parse_timestamp("2025-11-03T00:00:00Z")


def build_day(number=0, condition=Condition.CLEAN, divergence=0.002, **changes):
    fields = {
        "start_ms": FIRST_DAY_MS + number * DAY_MS,
        "condition": condition,
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
    """Return three weeks that come true."""
    return [
        build_day(week * per_week + number, condition, divergence, accuracy=0.96 - week / 3)
        for week, (condition, divergence) in enumerate(zip(Condition, divergences, strict=True))
        for number in range(per_week)
    ]
