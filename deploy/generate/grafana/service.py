"""The service dashboard, for platform engineers: whether events are counted and windows closed."""

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

_DRIFT = link("Show the drift of this stream", drift_url("${__field.labels.stream}"))
_LAG = f"driftgauge_consumer_lag_messages{{{OF_SOURCE}}}"
_RECORDS = f"driftgauge_records_total{{{OF_INSTANCE}, outcome%s}}[$__rate_interval]"
_READY = f"driftgauge_ready{{{OF_INSTANCE}}}"
_ZERO_IS_GOOD: dict[float | None, str] = {None: "green", 1: "red"}


@cache
def dashboard() -> dict[str, Any]:
    """Return the service dashboard."""
    return render(
        SERVICE,
        "driftgauge: service",
        "Whether replicas read and count the events of all streams and close their windows.",
        variables=(variable("instance", f"up{{{OF_SOURCE}}}", "The replicas.", ".+"),),
        alerts_selector=OF_SOURCE,
        to=("Drift", DRIFT),
        rows={
            "Overview": _overview(),
            "From events to windows": _flow(),
            "Kafka …": kafka(),
            "Processes …": processes(),
            "Versions and baselines …": versions(),
        },
    )


def _overview() -> Sequence[Panel]:
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
        ),
        value(
            "Unassigned partitions and shards",
            "driftgauge_topic_partitions minus driftgauge_consumer_assigned_partitions of all replicas. The"
            " selected instances make no difference.",
            f"sum(\n{topics}\n- ({held}\nor 0 * {topics})\n)",
            unit="none",
            colours=_ZERO_IS_GOOD,
        ),
        value(
            "Lag",
            "Sum of driftgauge_consumer_lag_messages: events not counted yet, and partials not applied yet.",
            f"sum({_LAG})",
            unit="short",
            colours={None: "transparent"},
        ),
        value(
            "Rejected records",
            "Rejected share of driftgauge_records_total, without filtered records, of the topic where it is"
            " largest. DriftgaugeEventsRejected fires where it stays above 5 %, DriftgaugeTopicRejected where"
            " it stays above 90 %.",
            f"""max(sum by (topic) (rate({_RECORDS % '="rejected"'}))
/ sum by (topic) (rate({_RECORDS % '!="filtered"'})))""",
            unit="percentunit",
            colours={None: "green", 0.05: "red"},
        ),
        value(
            "Breaks in the chain of partials",
            "Increase of driftgauge_partials_gap_total, driftgauge_partials_overlap_total and"
            " driftgauge_partials_orphans_total in the displayed time range. At 0 all counts are exact.",
            chain,
            unit="none",
            colours=_ZERO_IS_GOOD,
        ),
        alert_table(OF_SOURCE, span=12),
        states(
            "Readiness",
            "driftgauge_ready: the conditions of readiness. /readyz answers 200 while all of them hold.",
            {"{{instance}} {{condition}}": f"min by (instance, condition) ({_READY})"},
            names={0: ("no", "red"), 1: ("yes", "green")},
            span=12,
        ),
    )


def _flow() -> Sequence[Panel]:
    closed = gauge("driftgauge_window_closed_timestamp_seconds", OF_SOURCE)
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
            "Lag by topic",
            "driftgauge_consumer_lag_messages of the replicas that hold the partitions or shards.",
            {"{{topic}}": f"sum by (topic) ({_LAG})"},
            unit="short",
            span=12,
        ),
        draw(
            "Watermark delay",
            "Time since driftgauge_watermark_timestamp_seconds, the event time up to which a stream is"
            " considered complete. With current events the delay is about the allowed disorder. The delay"
            " grows while a partition is behind, and while a stream is silent.",
            {"{{stream}}": age("driftgauge_watermark_timestamp_seconds", OF_SOURCE)},
            unit="s",
            span=12,
            leads_to=_DRIFT,
        ),
        draw(
            "Age of the newest window, as a share of the limit",
            "Time since driftgauge_window_closed_timestamp_seconds as a share of"
            " driftgauge_window_overdue_seconds. DriftgaugeWindowsOverdue fires five minutes after a stream"
            " reaches the dashed line.",
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
