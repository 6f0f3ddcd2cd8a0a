"""The service dashboard, for platform engineers: whether events are counted and windows closed."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from deploy.generate.grafana.dashboards import DRIFT, SERVICE, alert_table, drift_url, render, variable
from deploy.generate.grafana.fields import Panel, link
from deploy.generate.grafana.lines import draw
from deploy.generate.grafana.panels import value
from deploy.generate.grafana.queries import OF_INSTANCE, OF_SOURCE, gauge
from deploy.generate.labels import by

__all__ = ["dashboard"]

_DRIFT = link("Show the drift of this stream", drift_url("${__field.labels.stream}"))
_LAG = f"driftgauge_consumer_lag_records{{{OF_SOURCE}}}"
_RECORDS = f"driftgauge_records_total{{{OF_INSTANCE}, outcome%s}}[$__rate_interval]"
_READY = f"driftgauge_ready{{{OF_INSTANCE}}}"


@cache
def dashboard() -> dict[str, Any]:
    """Return the service dashboard."""
    return render(
        SERVICE,
        "driftgauge: service",
        "Whether replicas read and count the events of all streams and close their windows.",
        variables=(variable("instance", f"up{{{OF_SOURCE}}}", "The replicas.", ".+"),),
        selector=OF_SOURCE,
        to=("Drift", DRIFT),
        since="now-24h",
        rows={
            "Overview": (*_numbers(), alert_table(OF_SOURCE)),
            "From events to windows": _flow(),
        },
    )


def _numbers() -> Sequence[Panel]:
    topics = gauge("driftgauge_topic_partitions", OF_SOURCE)
    held = (
        f"sum by ({by('topic')}) (\n"
        f"  max by ({by('topic', 'instance')}) (driftgauge_consumer_assigned_partitions{{{OF_SOURCE}}})\n)"
    )
    blocked = gauge("driftgauge_blocked_partitions", OF_SOURCE)
    return (
        value(
            "Replicas up",
            "up: targets of the job that Prometheus can scrape. Red at 0.",
            f"sum(up{{{OF_INSTANCE}}})",
            unit="none",
            colours={None: "red", 1: "green"},
        ),
        value(
            "Replicas not ready",
            "Replicas with a condition of driftgauge_ready that does not hold. A starting replica is not"
            " ready for some seconds.",
            f"sum(1 - min by ({by('instance')}) ({_READY}))",
            unit="none",
            colours={None: "green", 1: "orange"},
            span=5,
        ),
        value(
            "Partitions not worked on",
            "Unassigned partitions and shards (driftgauge_topic_partitions minus"
            " driftgauge_consumer_assigned_partitions of all replicas), and those that are blocked"
            " (driftgauge_blocked_partitions). The selected instances make no difference.",
            f"sum(\n{topics}\n- ({held}\nor 0 * {topics})\n)\n+ (sum({blocked}) or vector(0))",
            unit="none",
            colours={None: "green", 1: "red"},
            span=5,
        ),
        value(
            "Lag",
            "Sum of driftgauge_consumer_lag_records: records not counted yet, and partials not applied yet.",
            f"sum({_LAG})",
            unit="short",
            colours={None: "transparent"},
            span=5,
        ),
        value(
            "Rejected records",
            "Rejected share of driftgauge_records_total, without filtered records, of the topic where it is"
            " largest. DriftgaugeRecordsRejected fires if it stays above 5 %.",
            f"""max(sum by (topic) (rate({_RECORDS % '="rejected"'}))
/ sum by (topic) (rate({_RECORDS % '!="filtered"'})))""",
            unit="percentunit",
            colours={None: "green", 0.05: "red"},
            span=5,
        ),
    )


def _flow() -> Sequence[Panel]:
    closed = gauge("driftgauge_window_closed_timestamp_seconds", OF_SOURCE)
    rate = f"deriv(driftgauge_consumer_position_offset{{{OF_SOURCE}}}[$__rate_interval])"
    duration = "driftgauge_batch_duration_seconds"
    return (
        draw(
            "Accepted events and rejected records",
            "driftgauge_events_total, and driftgauge_records_rejected_total by reason, per second, over all"
            " replicas, at the time of the commit. A record may hold several events. Rejected records are on"
            " the dead letters topic.",
            {
                "accepted": f"sum(rate(driftgauge_events_total{{{OF_INSTANCE}}}[$__rate_interval]))",
                "{{reason}}": "sum by (reason) "
                f"(rate(driftgauge_records_rejected_total{{{OF_INSTANCE}}}[$__rate_interval]))",
            },
            unit="eps",
            span=12,
            stacked=True,
        ),
        draw(
            "Time to read the lag",
            "driftgauge_consumer_lag_records divided by the rate of reading, which is the slope of"
            " driftgauge_consumer_position_offset and at least one record per second. DriftgaugeLagGrowing"
            " fires if this time is above ten minutes and the lag grows.",
            {"{{topic}}": f"sum by (topic) ({_LAG})\n/ clamp_min(sum by (topic) ({rate}), 1)"},
            unit="s",
            span=12,
            line_at=600,
        ),
        draw(
            "Age of the newest window, as a share of the threshold",
            "Time since driftgauge_window_closed_timestamp_seconds as a share of"
            " driftgauge_window_overdue_threshold_seconds. DriftgaugeWindowsOverdue fires five minutes after"
            " a stream reaches the dashed line.",
            {
                "{{stream}} {{window}}": f"(time() - {closed})\n"
                f"/ {gauge('driftgauge_window_overdue_threshold_seconds', OF_SOURCE)}"
            },
            unit="percentunit",
            span=12,
            line_at=1,
            leads_to=_DRIFT,
        ),
        draw(
            "Share of time by phase",
            f"Increase of {duration} per second, mean of the replicas. Counting has decode, count, commit;"
            " windows have apply, close, write. The rest to 100 % of each role is waiting.",
            {
                "{{phase}}": f"avg by (phase) (sum by (instance, phase) "
                f"(rate({duration}_sum{{{OF_INSTANCE}}}[$__rate_interval])))"
            },
            unit="percentunit",
            span=12,
            stacked=True,
        ),
    )
