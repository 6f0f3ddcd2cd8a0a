"""The dashboard for those who run the platform: whether drift is seen at all, and what it costs."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from deploy.generate.grafana.dashboards import DRIFT, SERVICE, alert_table, drift_url, render, variable
from deploy.generate.grafana.fields import Panel, link
from deploy.generate.grafana.lines import draw
from deploy.generate.grafana.panels import states, value
from deploy.generate.grafana.queries import OF_INSTANCE, OF_SOURCE, age, gauge
from deploy.generate.grafana.service_details import kafka, processes, versions
from deploy.generate.labels import by

__all__ = ["dashboard"]

_DRIFT = link("Drift of this stream", drift_url("${__field.labels.stream}"))
_LAG = f"driftgauge_consumer_lag_messages{{{OF_SOURCE}}}"
_EVENTS = f"driftgauge_events_total{{{OF_INSTANCE}}}"
_REFUSED = f'driftgauge_events_total{{{OF_INSTANCE}, outcome!="accepted"}}'
_READY = f"driftgauge_ready{{{OF_INSTANCE}}}"
_NONE_IS_WELL: dict[float | None, str] = {None: "green", 1: "red"}


@cache
def dashboard() -> dict[str, Any]:
    """Return the dashboard of the service."""
    return render(
        SERVICE,
        "driftgauge: service",
        "Whether the events of all streams are read, counted and judged, and by what.",
        variables=(variable("instance", f"up{{{OF_SOURCE}}}", "The replicas.", ".+"),),
        alerts_where=OF_SOURCE,
        to=("Drift", DRIFT),
        rows={
            "At a glance": _glance(),
            "From events to windows": _flow(),
            "Kafka …": kafka(),
            "Processes …": processes(),
            "What runs …": versions(),
        },
    )


def _glance() -> Sequence[Panel]:
    topics = gauge("driftgauge_topic_partitions", OF_SOURCE)
    held = (
        f"sum by ({by('topic')}) (\n"
        f"  max by ({by('topic', 'instance')}) (driftgauge_consumer_assigned_partitions{{{OF_SOURCE}}})\n)"
    )
    chain = " + ".join(
        f"sum(increase(driftgauge_partials_{kind}_total{{{OF_SOURCE}}}[$__range]))"
        for kind in ("gap", "overlap", "orphans")
    )
    return (
        value(
            "Replicas up",
            "Targets of the job that Prometheus can scrape: up. Red where there is none.",
            f"sum(up{{{OF_INSTANCE}}})",
            unit="none",
            colours={None: "red", 1: "green"},
        ),
        value(
            "Replicas not ready",
            "Replicas for which a condition of driftgauge_ready does not hold. A replica that starts is not"
            " ready for some seconds.",
            f"sum(1 - min by ({by('instance')}) ({_READY}))",
            unit="none",
            colours={None: "green", 1: "orange"},
        ),
        value(
            "Partitions and shards nobody holds",
            "driftgauge_topic_partitions less driftgauge_consumer_assigned_partitions of all replicas,"
            " whichever are chosen above.",
            f"sum(\n{topics}\n- ({held}\nor 0 * {topics})\n)",
            unit="none",
            colours=_NONE_IS_WELL,
        ),
        value(
            "Records that wait",
            "Sum of driftgauge_consumer_lag_messages: events that are not counted, and partials that are not"
            " applied.",
            f"sum({_LAG})",
            unit="short",
            colours={None: "transparent"},
        ),
        value(
            "Refused",
            "Share of driftgauge_events_total whose outcome is not accepted. DriftgaugeEventsRejected fires"
            " where it stays above 5 % for a stream.",
            f"sum(rate({_REFUSED}[$__rate_interval]))\n/ sum(rate({_EVENTS}[$__rate_interval]))",
            unit="percentunit",
            colours={None: "green", 0.05: "red"},
        ),
        value(
            "Commits that do not join",
            "Growth over the time shown of driftgauge_partials_gap_total, driftgauge_partials_overlap_total"
            " and driftgauge_partials_orphans_total; 0 where all is counted exactly.",
            chain,
            unit="none",
            colours=_NONE_IS_WELL,
        ),
        alert_table(OF_SOURCE, span=12),
        states(
            "Readiness",
            "driftgauge_ready: the conditions that must hold for /readyz to answer 200.",
            {"{{instance}} {{condition}}": f"min by (instance, condition) ({_READY})"},
            names={0: ("no", "red"), 1: ("yes", "green")},
            span=12,
        ),
    )


def _flow() -> Sequence[Panel]:
    closed = gauge("driftgauge_window_closed_timestamp_seconds", OF_SOURCE)
    return (
        draw(
            "Events, by outcome",
            "driftgauge_events_total a second, over all replicas, when they are committed. All outcomes but"
            " accepted are on the dead letters' topic with their reason.",
            {"{{outcome}}": f"sum by (outcome) (rate({_EVENTS}[$__rate_interval]))"},
            unit="eps",
            span=12,
            stacked=True,
        ),
        draw(
            "Records that wait, by topic",
            "driftgauge_consumer_lag_messages of the replicas that hold the partitions, or the shards.",
            {"{{topic}}": f"sum by (topic) ({_LAG})"},
            unit="short",
            span=12,
        ),
        draw(
            "Delay of the watermark",
            "Time since driftgauge_watermark_timestamp_seconds, up to which a stream is taken to be complete:"
            " the allowed disorder where events of the present are read. It stays behind where a partition"
            " does, and where a stream is silent it grows.",
            {"{{stream}}": age("driftgauge_watermark_timestamp_seconds", OF_SOURCE)},
            unit="s",
            span=12,
            leads_to=_DRIFT,
        ),
        draw(
            "Time since a window was closed, of what is allowed",
            "Time since driftgauge_window_closed_timestamp_seconds in parts of"
            " driftgauge_window_overdue_seconds. At the dashed line a stream has no fresh windows, and"
            " DriftgaugeWindowsOverdue fires five minutes later.",
            {
                "{{stream}} {{window}}": f"(time() - {closed})\n"
                f"/ {gauge('driftgauge_window_overdue_seconds', OF_SOURCE)}"
            },
            unit="percentunit",
            span=12,
            line_at=1,
            leads_to=_DRIFT,
        ),
    )
