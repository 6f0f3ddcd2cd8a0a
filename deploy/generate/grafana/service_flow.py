"""The dashboard of the service: whether all is well, what becomes of events, and how Kafka is read."""

from deploy.generate.grafana.dashboards import Row
from deploy.generate.grafana.drawings import Axis, Look, bars, stat, states, timeseries
from deploy.generate.grafana.links import alert_table, drift_url
from deploy.generate.grafana.panels import Link, Query, by_name, line, thresholds
from deploy.generate.grafana.queries import OF_JOB, OF_PROCESS, grown
from deploy.generate.grafana.tables import Column, table

__all__ = ["events", "glance", "kafka"]

_OF_STREAMS = f'{OF_PROCESS}, stream=~"$stream"'
_OF_TOPICS = f'{OF_PROCESS}, topic=~"$topic"'
_ACCEPTED = f'driftgauge_events_total{{{_OF_STREAMS}, outcome="accepted"}}'
_REFUSED = f'driftgauge_events_total{{{_OF_STREAMS}, outcome!="accepted"}}'
_ALL = f"driftgauge_events_total{{{_OF_STREAMS}}}"
_LAG = f"driftgauge_consumer_lag_messages{{{_OF_TOPICS}}}"
_PACE = f"deriv(driftgauge_consumer_position_offset{{{_OF_TOPICS}}}[$__rate_interval])"

_NONE_IS_WELL = thresholds((None, "green"), (1, "red"))
_DRIFT = Link("Drift of this stream", drift_url("${__field.labels.stream}"))


def glance() -> Row:
    """Return what must be so for drift to be seen, and the alerts that say where it is not."""
    topic, of_all = "job, namespace, topic", f'{OF_JOB}, topic=~"$topic"'
    return Row(
        "At a glance",
        (
            stat(
                "Replicas up",
                "Targets of the job that Prometheus can scrape: up. Red where there is none.",
                Query(f"sum(up{{{OF_PROCESS}}})"),
                unit="none",
                decimals=0,
                steps=thresholds((None, "red"), (1, "green")),
            ),
            stat(
                "Replicas not ready",
                "Replicas for which a condition of driftgauge_ready does not hold. A replica that starts is"
                " not ready for some seconds.",
                Query(f"sum(1 - min by (job, namespace, instance) (driftgauge_ready{{{OF_PROCESS}}}))"),
                unit="none",
                decimals=0,
                steps=thresholds((None, "green"), (1, "orange")),
            ),
            stat(
                "Partitions nobody reads",
                "driftgauge_topic_partitions less driftgauge_consumer_assigned_partitions of all replicas,"
                " whichever are chosen above.",
                Query(
                    f"sum(\n  max by ({topic}) (driftgauge_topic_partitions{{{of_all}}})\n"
                    f"  - sum by ({topic}) (\n"
                    f"    max by (instance, {topic}) (driftgauge_consumer_assigned_partitions{{{of_all}}})\n"
                    f"  )\n)"
                ),
                unit="none",
                decimals=0,
                steps=_NONE_IS_WELL,
            ),
            stat(
                "Records that wait",
                "Sum of driftgauge_consumer_lag_messages.",
                Query(f"sum({_LAG})"),
                unit="short",
            ),
            stat(
                "Accepted events",
                "driftgauge_events_total of the outcome accepted, a second.",
                Query(f"sum(rate({_ACCEPTED}[$__rate_interval]))"),
                unit="eps",
            ),
            stat(
                "Refused",
                "Share of driftgauge_events_total whose outcome is not accepted. DriftgaugeEventsRejected"
                " fires where it stays above 5 % for a stream.",
                Query(f"sum(rate({_REFUSED}[$__rate_interval]))\n/ sum(rate({_ALL}[$__rate_interval]))"),
                unit="percentunit",
                decimals=1,
                steps=thresholds((None, "green"), (0.05, "red")),
            ),
            alert_table(
                "Alerts that fire",
                "ALERTS of all rules in driftgauge-alerts.yml. The name leads to the runbook, the stream to"
                " its panels of drift.",
                OF_JOB,
                width=12,
                height=7,
            ),
            states(
                "Readiness",
                "driftgauge_ready: the conditions without which a replica's gauges of windows are not shown,"
                " or not whole. All must hold for /readyz to answer 200.",
                Query(
                    f"min by (instance, condition) (driftgauge_ready{{{OF_PROCESS}}})",
                    "{{instance}} {{condition}}",
                ),
                names={0: ("no", "red"), 1: ("yes", "green")},
                width=12,
                height=7,
            ),
        ),
    )


def events() -> Row:
    """Return what becomes of the records that are read."""
    return Row(
        "Events",
        (
            timeseries(
                "Accepted events, by stream",
                "driftgauge_events_total of the outcome accepted, a second, over all replicas. Events count"
                " when they are committed.",
                Query(f"sum by (stream) (rate({_ACCEPTED}[$__rate_interval]))", "{{stream}}"),
                axis=Axis("eps"),
                width=12,
                look=Look.STACK,
                links=(_DRIFT,),
            ),
            timeseries(
                "Refused records, by reason",
                "driftgauge_events_total of all other outcomes, a second; each is on the dead letters' topic"
                " with its reason. late: its windows are past correction; future: its time is ahead of its"
                " record's; unknown_stream, undecodable and invalid name no stream.",
                Query(f"sum by (outcome) (rate({_REFUSED}[$__rate_interval]))", "{{outcome}}"),
                axis=Axis("eps"),
                width=12,
                look=Look.STACK,
            ),
            timeseries(
                "Refused, of all, by stream",
                "Share of each stream's driftgauge_events_total that is not accepted."
                " DriftgaugeEventsRejected fires above the dashed line.",
                Query(
                    f"sum by (stream) (rate({_of_named(_REFUSED)}[$__rate_interval]))\n"
                    f"/ (sum by (stream) (rate({_of_named(_ALL)}[$__rate_interval])) > 0)",
                    "{{stream}}",
                ),
                axis=Axis("percentunit", line_at=0.05),
                links=(_DRIFT,),
            ),
            bars(
                "Late events, by window",
                "Growth of driftgauge_late_events_total: events for which a window of this size was past"
                " correction. The same event may still count in a larger one.",
                Query(
                    grown("driftgauge_late_events_total", _OF_STREAMS, "stream, window"),
                    "{{stream}} {{window}}",
                ),
            ),
            bars(
                "Records lost",
                "Growth of driftgauge_records_lost_total: records that the topic no longer kept when they"
                " were to be read. DriftgaugeRecordsLost fires for an hour after any.",
                Query(grown("driftgauge_records_lost_total", _OF_TOPICS, "topic"), "{{topic}}"),
            ),
        ),
    )


def kafka() -> Row:
    """Return how the partitions are read, held and committed."""
    return Row(
        "Kafka",
        (
            timeseries(
                "Records that wait, by partition",
                "driftgauge_consumer_lag_messages of the replica that holds the partition.",
                Query(f"max by (topic, partition) ({_LAG})", "{{topic}} {{partition}}"),
                axis=Axis("short", decimals=0),
            ),
            timeseries(
                "Pace of reading, by partition",
                "Records read a second: the slope of driftgauge_consumer_position_offset. A partition of"
                " pace 0 where records wait is stuck.",
                Query(f"max by (topic, partition) ({_PACE})", "{{topic}} {{partition}}"),
                axis=Axis("recps"),
                look=Look.STACK,
            ),
            timeseries(
                "Time to read what waits",
                "driftgauge_consumer_lag_messages over the pace of reading, the slope of"
                " driftgauge_consumer_position_offset, which is taken to be one record a second at least."
                " DriftgaugeLagGrowing fires where it is above ten minutes and grows.",
                Query(
                    f"sum by (topic) ({_LAG})\n/ clamp_min(sum by (topic) ({_PACE}), 1)",
                    "{{topic}}",
                ),
                axis=Axis("s", line_at=600),
            ),
            table(
                "Who reads what",
                "The replica that holds each partition, the next offset it reads"
                " (driftgauge_consumer_position_offset) and how many records wait"
                " (driftgauge_consumer_lag_messages).",
                ("topic", "partition", "instance"),
                Column(
                    "next offset",
                    "max by (topic, partition, instance) "
                    f"(driftgauge_consumer_position_offset{{{_OF_TOPICS}}})",
                    "locale",
                    0,
                ),
                Column("wait", f"max by (topic, partition, instance) ({_LAG})", "locale", 0),
                width=8,
                height=8,
                order=("partition", False),
                widths={"partition": 75, "next offset": 100, "wait": 70},
            ),
            timeseries(
                "Partitions",
                "How many a topic has (driftgauge_topic_partitions), how many all replicas hold"
                " (driftgauge_consumer_assigned_partitions) and how many of these are not counted"
                " (driftgauge_consumer_stopped_partitions), because state, committed offset and log do not"
                " fit together.",
                Query(
                    f"max by (topic) (driftgauge_topic_partitions{{{_OF_TOPICS}}})", "{{topic}}: there are"
                ),
                Query(
                    f"sum by (topic) (driftgauge_consumer_assigned_partitions{{{_OF_TOPICS}}})",
                    "{{topic}}: held",
                ),
                Query(
                    f"sum by (topic) (driftgauge_consumer_stopped_partitions{{{_OF_TOPICS}}})",
                    "{{topic}}: stopped",
                ),
                axis=Axis("none", decimals=0),
                look=Look.STEPS,
            ),
            timeseries(
                "Commits",
                "driftgauge_commits_total a second, over all replicas. What an aborted transaction held is"
                " counted again.",
                Query(
                    f"sum by (outcome) (rate(driftgauge_commits_total{{{OF_PROCESS}}}[$__rate_interval]))",
                    "{{outcome}}",
                ),
                axis=Axis("ops"),
                overrides=(by_name("ok", **line("green")), by_name("aborted", **line("red"))),
            ),
            bars(
                "Changes of the assignment, and restores",
                "Growth of driftgauge_consumer_rebalances_total; lost: taken away without notice. And of the"
                " number of driftgauge_restore_duration_seconds: how often counting went on after one.",
                Query(grown("driftgauge_consumer_rebalances_total", OF_PROCESS, "kind"), "{{kind}}"),
                Query(grown("driftgauge_restore_duration_seconds_count", OF_PROCESS, "job"), "restored"),
                overrides=(by_name("lost", color={"mode": "fixed", "fixedColor": "red"}),),
            ),
            bars(
                "Sessions lost",
                "Growth of driftgauge_sessions_lost_total: Kafka clients made anew, after an outage or"
                " because another process bears the replica's name.",
                Query(grown("driftgauge_sessions_lost_total", OF_PROCESS, "instance"), "{{instance}}"),
            ),
            timeseries(
                "Time spent on restores",
                "Growth of driftgauge_restore_duration_seconds: the time from assignments until counting"
                " went on from the committed state.",
                Query(
                    grown("driftgauge_restore_duration_seconds_sum", OF_PROCESS, "instance"), "{{instance}}"
                ),
                axis=Axis("s", most=1),
            ),
        ),
    )


def _of_named(series: str) -> str:
    """Return the series that name a stream: all others are refused."""
    return series.replace("}", ', stream!=""}')
