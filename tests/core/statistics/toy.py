"""A statistic for tests: the share of events with a positive first number, and its test."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from driftgauge.core.counting.tally import TallyField
from driftgauge.core.statistics.statistic import Finding, Kind, Null, Number, Statistic


@dataclass(frozen=True, slots=True)
class Toy(Finding):
    share: float
    excess: float
    p_value: float


class ToyNull(Null):
    def __init__(self, reference, _segment, _overdispersion):
        self._expected = float(reference.arrays["toy_share"][0])

    def test(self, tally):
        share = int(tally["toy_count"][0]) / tally.count
        error = math.sqrt(self._expected * (1 - self._expected) / tally.count)
        excess = float(abs(share - self._expected))
        return Toy(share, excess, max(2 * float(ndtr(-excess / error)), 1e-300))

    def least(self, count, _level):
        return 4 / math.sqrt(count)


TOY = Statistic(
    name="toy",
    kind=Kind("sign", "more events have a positive first number", "Look for a sign that flipped."),
    title="Toy share",
    text="The share of events with a positive first number.",
    smallest=0.1,
    smallest_text="Change of the share.",
    weights=(0.5,),
    finding=Toy,
    fields=lambda *_: (TallyField("toy_count", 1),),
    measure=lambda events: ((events.vectors[:, :1] > 0).astype(np.int64),),
    null=ToyNull,
    numbers=(Number("toy_ratio", "ratio", "The share.", lambda found: found.share),),
    shown=lambda found: found.share,
    is_share=True,
    arrays={"toy_share": ("float64", (1,), 0)},
    fit=lambda sample: {"toy_share": sample.counted["toy_count"].mean(axis=0)},
)
