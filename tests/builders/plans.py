"""Builder of requests for a plan."""

import math
from typing import Any

from driftgauge.core.statistics.power import Sensitivity
from driftgauge.planning import PlanRequest


def build_request(
    events_per_hour: float = 1_000, *, clusters: int = 20, baseline_count: float = math.inf, **fields: Any
) -> PlanRequest:
    """Return a request of one stream; `fields` replace its fields."""
    return PlanRequest(
        **{
            "events_per_hour": events_per_hour,
            "sensitivity": Sensitivity(clusters, 32, baseline_count),
            "js_divergence": 0.01,
            "mean_shift": 0.05,
            "false_pages_per_year": 1,
            "streams": 1,
            "daily_cycle": False,
            **fields,
        }
    )
