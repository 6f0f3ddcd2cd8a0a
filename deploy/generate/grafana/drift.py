"""The dashboard for those who own a model: whether its inputs moved, where, and since when."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from deploy.generate.grafana.dashboards import DRIFT, SERVICE, drift_url, render, variable
from deploy.generate.grafana.drift_clusters import contributions, movers
from deploy.generate.grafana.drift_details import LATER, UNSCORED, evidence, segments, trust
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

# Below it there is nothing to tell apart, and the axis counts powers of ten.
_LEAST_P_VALUE = "1e-12"


@cache
def dashboard() -> dict[str, Any]:
    """Return the dashboard of drift."""
    return render(
        DRIFT,
        "driftgauge: drift",
        "Whether the inputs of a model moved against their baseline, where, and since when.",
        variables=(
            variable(
                "stream",
                f"driftgauge_window_duration_seconds{{{OF_SOURCE}}}",
                "Of all panels below the first row.",
            ),
            variable(
                "window",
                f"driftgauge_window_duration_seconds{{{OF_STREAM}}}",
                "Of all panels below the first row.",
            ),
        ),
        # Alerts that name no stream, such as that all is down, concern every one.
        alerts_where=f'{OF_SOURCE}, stream=~"$stream|"',
        to=("Service", SERVICE),
        rows={
            "All streams: click one to see it below": _all_streams(),
            "$stream, windows of $window": (_divergence(), _p_values(), contributions(), movers()),
            "$stream, windows of $window: more evidence …": evidence(),
            "$stream, windows of $window: how far to trust it …": trust(),
            "$stream, windows of $window: segments …": segments(),
        },
    )


def _all_streams() -> Sequence[Panel]:
    labels = ("cluster", "namespace", "stream", "window")
    to_field = link("Show it", drift_url("${__field.labels.stream}", "${__field.labels.window}"))
    to_cell = link("Show it", drift_url("${__data.fields.stream}", "${__data.fields.window}"))

    def of_all(name: str) -> str:
        return f"max by ({', '.join(labels)}) ({name}{{{OF_SOURCE}}})"

    return (
        states(
            VERDICTS,
            "driftgauge_window_verdict: what the newest closed window of each stream and size says."
            " drift: significant and large in two of the last three windows; warning: in this one alone,"
            " or small evidence over many; insufficient: too few events to say that there is none;"
            " incomplete: partitions are missing." + LATER,
            {"{{stream}} {{window}}": verdict_code("driftgauge_window_verdict", OF_SOURCE, *labels)},
            names=VERDICT_TEXTS,
            leads_to=to_field,
        ),
        table_of(
            "Newest windows of all streams",
            "The newest closed window of each stream and size, by driftgauge_window_verdict;"
            " driftgauge_alarm_active: the last window that says anything says drift;"
            " driftgauge_window_js_divergence (without drift it is about driftgauge_window_noise_floor, not"
            " 0) and driftgauge_window_js_excess; driftgauge_window_p_value, and"
            " driftgauge_window_calibrated: whether it knows how related events are;"
            " driftgauge_window_slow_drift in parts of driftgauge_window_slow_drift_limit;"
            " driftgauge_window_events, driftgauge_window_end_timestamp_seconds, time since"
            " driftgauge_window_closed_timestamp_seconds, and driftgauge_window_revision. A dash: not"
            " scored.",
            labels,
            {
                "verdict": Column.of_texts(
                    verdict_code("driftgauge_window_verdict", OF_SOURCE, *labels), VERDICT_TEXTS
                ),
                "alarm": Column.of_texts(of_all("driftgauge_alarm_active"), _ALARM),
                "divergence": Column(of_all("driftgauge_window_js_divergence"), decimals=4),
                "noise floor": Column(of_all("driftgauge_window_noise_floor"), decimals=4),
                "excess": Column(of_all("driftgauge_window_js_excess"), decimals=4),
                "p-value": Column(of_all("driftgauge_window_p_value"), "sci", 1),
                "calibrated": Column.of_texts(of_all("driftgauge_window_calibrated"), _NO_YES),
                "slow drift": Column(
                    f"{of_all('driftgauge_window_slow_drift')}\n"
                    f"/ {of_all('driftgauge_window_slow_drift_limit')}",
                    "percentunit",
                    0,
                ),
                "events": Column(of_all("driftgauge_window_events"), "locale", 0),
                "window ended": Column(
                    f"1000 * {of_all('driftgauge_window_end_timestamp_seconds')}", "dateTimeAsIso"
                ),
                "closed ago": Column(
                    f"time() - {of_all('driftgauge_window_closed_timestamp_seconds')}", "s", 0
                ),
                "revision": Column(of_all("driftgauge_window_revision"), decimals=0),
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
        "driftgauge_window_js_divergence: the Jensen-Shannon divergence, base 2, from 0 to 1, of each"
        " window's histogram from the baseline's. Without drift it is about its noise floor"
        " (driftgauge_window_noise_floor), not 0. A window is large from the dashed line on: noise floor and"
        " driftgauge_alarm_js_excess." + LATER + UNSCORED,
        {
            "divergence": gauge("driftgauge_window_js_divergence", OF_WINDOW),
            "noise floor": floor,
            "large from here on": f"{floor}\n+ {OF_ITS_STREAM} {large}",
        },
        unit="none",
        span=12,
        steps=True,
        series={
            "divergence": {**fixed("blue"), "custom.lineWidth": 2},
            "noise floor": {**fixed("#8e8e8e"), "custom.fillOpacity": 25},
            "large from here on": limit(),
        },
    )


def _p_values() -> Panel:
    parts = {
        "of all together": "driftgauge_window_p_value",
        "of the divergence": "driftgauge_window_js_p_value",
        "of T2": "driftgauge_window_mean_shift_p_value",
        "of the centroid distance": "driftgauge_window_centroid_p_value",
    }
    drawn = {
        name: f"clamp_min({gauge(metric, OF_WINDOW)}, {_LEAST_P_VALUE})" for name, metric in parts.items()
    }
    return draw(
        "p-values",
        "How often, without drift, a window is as extreme. The verdict goes by driftgauge_window_p_value,"
        " which combines driftgauge_window_js_p_value, driftgauge_window_mean_shift_p_value and"
        " driftgauge_window_centroid_p_value; below the dashed line, driftgauge_alarm_p_value, a window is"
        " significant. Values below 1e-12 are drawn there. Where the windows are not calibrated, they"
        " may be too small." + LATER + UNSCORED,
        {**drawn, "significant below": gauge("driftgauge_alarm_p_value", OF_STREAM)},
        unit="sci",
        span=12,
        steps=True,
        logarithmic=True,
        series={
            "of all together": {**fixed("blue"), "custom.lineWidth": 2},
            "significant below": limit(),
        },
    )
