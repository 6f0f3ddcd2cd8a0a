"""The dashboard of drift, from above: every stream's verdict, and the newest window of the chosen one."""

from deploy.generate.grafana.dashboards import Row
from deploy.generate.grafana.drawings import stat, states
from deploy.generate.grafana.links import alert_table, drift_url
from deploy.generate.grafana.panels import Link, Query, mapping, thresholds
from deploy.generate.grafana.queries import (
    OF_ITS_STREAM,
    OF_JOB,
    OF_STREAM,
    OF_WINDOW,
    configured,
    newest,
    verdict_code,
)
from deploy.generate.grafana.tables import Column, table
from deploy.generate.grafana.verdicts import LATER, VERDICT_NAMES

__all__ = ["VERDICT_TIMELINE", "all_streams", "newest_window"]

VERDICT_TIMELINE = "Verdicts of all streams"


def all_streams() -> Row:
    """Return what all streams say, to choose from."""
    by = "namespace, stream, window"
    go = Link(
        "Show this stream and window", drift_url("${__field.labels.stream}", "${__field.labels.window}")
    )
    return Row(
        "All streams: click one to see it below",
        (
            states(
                VERDICT_TIMELINE,
                "driftgauge_window_verdict: what the newest closed window of each stream and size says."
                " drift: significant and large in two of the last three windows; warning: in this one alone,"
                " or small evidence over many; insufficient: too few events to say that there is none;"
                " incomplete: partitions are missing." + LATER,
                Query(verdict_code("driftgauge_window_verdict", OF_JOB, by), "{{stream}} {{window}}"),
                names=VERDICT_NAMES,
                width=15,
                height=8,
                links=(go,),
            ),
            alert_table(
                "Drift alerts that fire",
                "ALERTS of the rules in driftgauge-alerts.yml that name a stream. The name leads to the"
                " runbook, the stream to its panels.",
                f'{OF_JOB}, stream!=""',
                width=9,
                height=8,
            ),
            table(
                "Newest windows of all streams",
                "The newest closed window of each stream and size, as driftgauge_window_verdict,"
                " driftgauge_window_js_divergence (without drift it is about driftgauge_window_noise_floor,"
                " not 0), driftgauge_window_p_value, driftgauge_window_slow_drift in parts of"
                " driftgauge_window_slow_drift_limit, driftgauge_window_events,"
                " driftgauge_window_end_timestamp_seconds, time since"
                " driftgauge_window_closed_timestamp_seconds, and driftgauge_window_revision. A dash: not"
                " scored.",
                ("namespace", "stream", "window"),
                Column(
                    "verdict",
                    verdict_code("driftgauge_window_verdict", OF_JOB, by),
                    properties={
                        "mappings": mapping(VERDICT_NAMES),
                        "custom_cellOptions": {"type": "color-background", "mode": "basic"},
                    },
                ),
                Column("divergence", _of_all("driftgauge_window_js_divergence"), decimals=4),
                Column("noise floor", _of_all("driftgauge_window_noise_floor"), decimals=4),
                Column("p-value", _of_all("driftgauge_window_p_value"), "sci", 1),
                Column(
                    "slow drift",
                    f"{_of_all('driftgauge_window_slow_drift')}\n"
                    f"/ {_of_all('driftgauge_window_slow_drift_limit')}",
                    "percentunit",
                    0,
                ),
                Column("events", _of_all("driftgauge_window_events"), "locale", 0),
                Column(
                    "window ended",
                    f"1000 * {_of_all('driftgauge_window_end_timestamp_seconds')}",
                    "dateTimeAsIso",
                ),
                Column(
                    "closed ago",
                    f"time() - {_of_all('driftgauge_window_closed_timestamp_seconds')}",
                    "s",
                    0,
                ),
                Column("revision", _of_all("driftgauge_window_revision"), decimals=0),
                width=24,
                height=6,
                links={
                    "stream": Link(
                        "Show this stream and window",
                        drift_url("${__data.fields.stream}", "${__data.fields.window}"),
                    )
                },
                order=("stream", False),
                widths={"window": 80, "verdict": 110, "window ended": 180},
            ),
        ),
    )


def newest_window() -> Row:
    """Return what the newest window of the chosen stream and size says."""
    histogram = _of_floor("driftgauge_window_js_excess", "driftgauge_alarm_js_excess")
    mean = _of_floor("driftgauge_window_mean_shift_excess", "driftgauge_alarm_mean_shift_excess")
    return Row(
        "$stream, windows of $window: the newest",
        (
            stat(
                "Verdict",
                "driftgauge_window_verdict of the newest closed window.",
                Query(verdict_code("driftgauge_window_verdict", OF_WINDOW, "job, namespace")),
                unit="none",
                mappings=mapping(VERDICT_NAMES),
            ),
            stat(
                "Size, of what is large",
                "driftgauge_window_js_excess in parts of driftgauge_alarm_js_excess, or"
                " driftgauge_window_mean_shift_excess in parts of driftgauge_alarm_mean_shift_excess,"
                " whichever is more: x 3 is three times as much as makes a window large, and 0 is less than"
                " noise.",
                Query(f"clamp_min(\n{histogram} >= {mean}\nor {mean}, 0)"),
                # It has no upper end, and hundreds of thousands of per cent say nothing.
                unit="prefix:x ",
                steps=thresholds((None, "green"), (1, "orange")),
            ),
            stat(
                "Significant",
                "Whether driftgauge_window_p_value is below driftgauge_alarm_p_value: how often, without"
                " drift, a window is as extreme, against its part of the alarm budget.",
                Query(
                    f"{newest('driftgauge_window_p_value', OF_WINDOW)}\n"
                    f"< bool {OF_ITS_STREAM} {configured('driftgauge_alarm_p_value', OF_STREAM)}"
                ),
                unit="none",
                mappings=mapping({0: ("no", "green"), 1: ("yes", "orange")}),
            ),
            stat(
                "Calibrated",
                "driftgauge_window_calibrated: whether the p-values know how related events are. Where not,"
                " it is guessed or not known, and they may be too small where events come in bursts.",
                Query(newest("driftgauge_window_calibrated", OF_WINDOW)),
                unit="none",
                mappings=mapping({0: ("no", "orange"), 1: ("yes", "green")}),
            ),
            stat(
                "Window ended",
                "driftgauge_window_end_timestamp_seconds: the end of the newest closed window, event time.",
                Query(f"1000 * {newest('driftgauge_window_end_timestamp_seconds', OF_WINDOW)}"),
                unit="dateTimeAsIso",
            ),
            stat(
                "Closed, of the time allowed",
                "Time since driftgauge_window_closed_timestamp_seconds as a part of"
                " driftgauge_window_overdue_seconds; at 100 % the window is overdue, and"
                " DriftgaugeWindowsOverdue will fire.",
                Query(
                    f"(time() - {newest('driftgauge_window_closed_timestamp_seconds', OF_WINDOW)})\n"
                    "/ on (job, namespace, stream, window) "
                    f"{configured('driftgauge_window_overdue_seconds', OF_WINDOW)}"
                ),
                unit="percentunit",
                decimals=0,
                steps=thresholds((None, "green"), (0.8, "orange"), (1, "red")),
            ),
        ),
    )


def _of_floor(name: str, floor: str) -> str:
    return f"({newest(name, OF_WINDOW)}\n/ {OF_ITS_STREAM} {configured(floor, OF_STREAM)})"


def _of_all(name: str) -> str:
    return f"max by (namespace, stream, window) ({newest(name, OF_JOB)})"
