"""The drift dashboard, for model owners: whether the inputs of a model moved, where, and since when."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from deploy.generate.grafana.dashboards import (
    DRIFT,
    PAGE_LINK,
    SERVICE,
    drift_url,
    page_variable,
    render,
    variable,
)
from deploy.generate.grafana.drift_clusters import contributions, movers
from deploy.generate.grafana.drift_details import LATER, UNSCORED, evidence, quality, segments
from deploy.generate.grafana.fields import VERDICT_TEXTS, Panel, fixed, limit, link
from deploy.generate.grafana.lines import draw
from deploy.generate.grafana.panels import states
from deploy.generate.grafana.queries import (
    OF_ITS_STREAM,
    OF_SOURCE,
    OF_STREAM,
    OF_WINDOW,
    gauge,
    verdict_code,
)
from deploy.generate.grafana.tables import Column, table_of

__all__ = ["VERDICTS", "dashboard"]

VERDICTS = "Verdicts of all streams"

_NO_YES: Mapping[float, tuple[str, str]] = {0: ("no", "orange"), 1: ("yes", "green")}
_ALARM: Mapping[float, tuple[str, str]] = {0: ("-", "transparent"), 1: ("alarm", "red")}

# The axis is logarithmic, and smaller p-values make no difference.
_LEAST_P_VALUE = "1e-12"


@cache
def dashboard() -> dict[str, Any]:
    """Return the drift dashboard."""
    return render(
        DRIFT,
        "driftgauge: drift",
        "Whether the inputs of a model moved away from their baseline, where, and since when.",
        variables=(
            variable(
                "stream",
                f"driftgauge_window_duration_seconds{{{OF_SOURCE}}}",
                "For all panels below the first row.",
            ),
            variable(
                "window",
                f"driftgauge_window_duration_seconds{{{OF_STREAM}}}",
                "For all panels below the first row.",
            ),
            page_variable(),
        ),
        # An alert without a stream, such as DriftgaugeDown, concerns every stream.
        alerts_selector=f'{OF_SOURCE}, stream=~"$stream|"',
        to=("Service", SERVICE),
        rows={
            "All streams (click one to see it below)": _all_streams(),
            "$stream, windows of $window": (_divergence(), _p_values(), contributions(), movers()),
            "$stream, windows of $window: more evidence …": evidence(),
            "$stream, windows of $window: data quality …": quality(),
            "$stream, windows of $window: segments …": segments(),
        },
    )


def _all_streams() -> Sequence[Panel]:
    labels = ("cluster", "namespace", "stream", "window")
    to_field = link("Show this stream", drift_url("${__field.labels.stream}", "${__field.labels.window}"))
    to_cell = link("Show this stream", drift_url("${__data.fields.stream}", "${__data.fields.window}"))

    def newest(name: str) -> str:
        return f"max by ({', '.join(labels)}) ({name}{{{OF_SOURCE}}})"

    return (
        states(
            VERDICTS,
            "driftgauge_window_verdict: the verdict of the newest closed window of each stream and size."
            " drift: two of the last three windows are significant and large, or a calibrated one is so"
            " by far. warning: this window alone is,"
            " or small evidence has added up over many windows. insufficient: too few events to be"
            " scored. incomplete: partitions are missing, or the counts are in doubt." + LATER,
            {"{{stream}} {{window}}": verdict_code("driftgauge_window_verdict", OF_SOURCE, *labels)},
            names=VERDICT_TEXTS,
            leads_to=to_field,
        ),
        table_of(
            "Newest windows of all streams",
            "The newest closed window of each stream and size. Verdict: driftgauge_window_verdict. Alarm:"
            " driftgauge_alarm_active, the last conclusive window says drift. Divergence:"
            " driftgauge_window_js_divergence, which without drift is about driftgauge_window_noise_floor,"
            " not 0. Excess: driftgauge_window_js_excess. p-value: driftgauge_window_p_value. Calibrated:"
            " driftgauge_window_calibrated, the p-value uses a measured overdispersion. Slow"
            " drift: driftgauge_window_slow_drift as a share of driftgauge_window_slow_drift_limit. Also:"
            " driftgauge_window_events, driftgauge_window_end_timestamp_seconds, time since"
            " driftgauge_window_closed_timestamp_seconds, driftgauge_window_revision. A dash: not scored.",
            labels,
            {
                "verdict": Column.of_texts(
                    verdict_code("driftgauge_window_verdict", OF_SOURCE, *labels), VERDICT_TEXTS
                ),
                "alarm": Column.of_texts(newest("driftgauge_alarm_active"), _ALARM),
                "divergence": Column(newest("driftgauge_window_js_divergence"), decimals=4),
                "noise floor": Column(newest("driftgauge_window_noise_floor"), decimals=4),
                "excess": Column(newest("driftgauge_window_js_excess"), decimals=4),
                "p-value": Column(newest("driftgauge_window_p_value"), "sci", 1),
                "calibrated": Column.of_texts(newest("driftgauge_window_calibrated"), _NO_YES),
                "slow drift": Column(
                    f"{newest('driftgauge_window_slow_drift')}\n"
                    f"/ {newest('driftgauge_window_slow_drift_limit')}",
                    "percentunit",
                    0,
                ),
                "events": Column(newest("driftgauge_window_events"), "locale", 0),
                "window ended": Column(
                    f"1000 * {newest('driftgauge_window_end_timestamp_seconds')}", "dateTimeAsIso"
                ),
                "closed ago": Column(
                    f"time() - {newest('driftgauge_window_closed_timestamp_seconds')}", "s", 0
                ),
                "revision": Column(newest("driftgauge_window_revision"), decimals=0),
            },
            cells={"stream": {"links": [to_cell.build()]}},
            order=("stream", False),
        ),
    )


def _divergence() -> Panel:
    floor = gauge("driftgauge_window_noise_floor", OF_WINDOW)
    large = gauge("driftgauge_alarm_js_excess", OF_STREAM)
    return draw(
        "Divergence",
        "driftgauge_window_js_divergence: the Jensen-Shannon divergence, base 2, from 0 to 1, between the"
        " histograms of each window and of the baseline. Without drift it is about the noise floor"
        " (driftgauge_window_noise_floor), not 0. A window is large above the dashed line, which is the noise"
        " floor plus driftgauge_alarm_js_excess. A click shows the window on driftgauge's own page."
        + LATER
        + UNSCORED,
        {
            "divergence": gauge("driftgauge_window_js_divergence", OF_WINDOW),
            "noise floor": floor,
            "large above": f"{floor}\n+ {OF_ITS_STREAM} {large}",
        },
        unit="none",
        span=12,
        steps=True,
        series={
            "divergence": {**fixed("blue"), "custom.lineWidth": 2},
            "noise floor": {**fixed("#8e8e8e"), "custom.fillOpacity": 25},
            "large above": limit(),
        },
        leads_to=PAGE_LINK,
    )


def _p_values() -> Panel:
    parts = {
        "combined": "driftgauge_window_p_value",
        "divergence": "driftgauge_window_js_p_value",
        "T2": "driftgauge_window_mean_shift_p_value",
        "T2, leading components": "driftgauge_window_mean_shift_leading_p_value",
        "centroid distance": "driftgauge_window_centroid_p_value",
        "novelty": "driftgauge_window_novelty_p_value",
        "duplicates": "driftgauge_window_duplicates_p_value",
    }
    gauges = {name: gauge(metric, OF_WINDOW) for name, metric in parts.items()}
    gauges["spread"] = f"min(driftgauge_window_spread_p_value{{{OF_WINDOW}}})"
    drawn = {name: f"clamp_min({expression}, {_LEAST_P_VALUE})" for name, expression in gauges.items()}
    return draw(
        "p-values",
        "The probability of a window this extreme without drift. The verdict uses driftgauge_window_p_value,"
        " which combines driftgauge_window_js_p_value, driftgauge_window_mean_shift_p_value,"
        " driftgauge_window_mean_shift_leading_p_value, driftgauge_window_centroid_p_value,"
        " driftgauge_window_novelty_p_value, driftgauge_window_duplicates_p_value and"
        " driftgauge_window_spread_p_value, of which the least is drawn. A window is significant below the"
        " dashed line, driftgauge_alarm_p_value. The panel draws smaller values as 1e-12. Without calibration"
        " p-values may"
        " be too small." + LATER + UNSCORED,
        {**drawn, "significant below": gauge("driftgauge_alarm_p_value", OF_STREAM)},
        unit="sci",
        span=12,
        steps=True,
        logarithmic=True,
        series={
            "combined": {**fixed("blue"), "custom.lineWidth": 2},
            "significant below": limit(),
        },
    )
