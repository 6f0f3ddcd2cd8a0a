"""Metrics of the newest closed window's score: the numbers of its statistics, and the combined p-value."""

from typing import Any

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.statistic import Number, Statistic
from driftgauge.telemetry.metric import Metric, Samples, score_metric
from driftgauge.telemetry.snapshot import StreamView

__all__ = ["SCORE_METRICS"]


def _number_metric(statistic: Statistic[Any], number: Number[Any]) -> Metric:
    """Return the metric of one number of a statistic's findings, by part where it has parts."""

    def samples(view: StreamView) -> Samples:
        for window, result in view.newest():
            if result.score is None or statistic.name not in result.score.findings:
                continue
            value = number.value_of(result.score.findings.of(statistic))
            if not number.parts:
                yield (window,), value
            else:
                for part, each in value.items():
                    yield (window, part), each

    labels = ("stream", "window", "part") if number.parts else ("stream", "window")
    absent = "" if number.parts else " Absent where the window was not scored."
    return Metric(f"driftgauge_window_{number.name}", labels, number.unit, number.help + absent, samples)


SCORE_METRICS = (
    *(_number_metric(statistic, number) for statistic in registry.STATISTICS for number in statistic.numbers),
    score_metric(
        "driftgauge_window_p_value",
        "probability",
        "Combined p-value of all statistics. The verdict uses this value.",
        lambda score: score.p_value,
    ),
    score_metric(
        "driftgauge_window_calibrated",
        "1 or 0",
        "1 where the p-values use a measured overdispersion. At 0 the overdispersion is guessed or"
        " unknown, and p-values may be too small where events come in bursts.",
        lambda score: score.calibrated,
    ),
)
