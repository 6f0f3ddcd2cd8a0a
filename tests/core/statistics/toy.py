"""A statistic for tests: the share of events with a positive first number, and its test."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from driftgauge.core.statistics.statistic import Finding, Null, Statistic
from driftgauge.statistic_words import StatisticWords


@dataclass(frozen=True, slots=True)
class Toy(Finding):
    share: float
    excess: float
    p_value: float


class ToyNull(Null):
    def __init__(self, reference):
        self._expected = float(reference.arrays["toy_share"][0])

    def test(self, tally):
        share = int(tally["toy_count"][0]) / tally.count
        error = math.sqrt(self._expected * (1 - self._expected) / tally.count)
        excess = float(abs(share - self._expected))
        return Toy(share, excess, max(2 * float(ndtr(-excess / error)), 1e-300))

    def least(self, count, _level):
        return 4 / math.sqrt(count)


class ToyStatistic(Statistic):
    name = "toy"
    kind = "sign"
    finding = Toy
    fields: ClassVar = {"toy_count": 1}
    smallest = 0.1
    weights = (0.5,)
    arrays: ClassVar = {"toy_share": ("float64", (1,), 0)}

    def measure(self, events):
        return ((events.vectors[:, :1] > 0).astype(np.int64),)

    def fit(self, measured, outliers):
        return {"toy_share": measured["toy_count"].mean(axis=0)}

    def null(self, reference, segment, overdispersion):
        return ToyNull(reference)

    def shown(self, finding):
        return finding.share

    def numbers(self, finding):
        return {"toy_ratio": finding.share}


TOY = ToyStatistic()
TOY_WORDS = StatisticWords(
    title="Toy share",
    text="The share of events with a positive first number.",
    smallest="Change of the share.",
    sentence="more events have a positive first number",
    advice="Look for a sign that flipped.",
    numbers={"toy_ratio": ("ratio", "The share.")},
    is_share=True,
)
