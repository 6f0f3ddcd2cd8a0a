"""The service dashboard: the panels of its collapsed rows, Kafka, processes, versions and baselines."""

from collections.abc import Sequence

from deploy.generate.grafana.dashboards import drift_url
from deploy.generate.grafana.fields import Panel, fixed, link
from deploy.generate.grafana.lines import bars, draw
from deploy.generate.grafana.queries import OF_INSTANCE, OF_SOURCE, gauge, growth
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import by

__all__ = ["kafka", "processes", "versions"]


def kafka() -> Sequence[Panel]:
    """Return the panels of reading, assignment, commits and writes."""
    lag = f"driftgauge_consumer_lag_messages{{{OF_SOURCE}}}"
    rate = f"deriv(driftgauge_consumer_position_offset{{{OF_SOURCE}}}[$__rate_interval])"
    return (
        draw(
            "Time to read the lag",
            "driftgauge_consumer_lag_messages divided by the rate of reading, which is the slope of"
            " driftgauge_consumer_position_offset and at least one record per second. DriftgaugeLagGrowing"
            " fires where this time is above ten minutes and the lag grows.",
            {"{{topic}}": f"sum by (topic) ({lag})\n/ clamp_min(sum by (topic) ({rate}), 1)"},
            unit="s",
            line_at=600,
        ),
        draw(
            "Partitions and shards",
            "For each topic the number of assigned partitions (driftgauge_consumer_assigned_partitions), of"
            " stopped ones among them (driftgauge_consumer_stopped_partitions), of those that wait for a"
            " schema (driftgauge_schema_waiting_partitions), and of partitions that a replica could not write"
            " to (driftgauge_unwritable_partitions).",
            {
                f"{{{{topic}}}}: {name}": f"{over} by (topic) (driftgauge_{metric}_partitions{{{OF_SOURCE}}})"
                for name, over, metric in (
                    ("assigned", "sum", "consumer_assigned"),
                    ("stopped", "sum", "consumer_stopped"),
                    ("waiting for a schema", "sum", "schema_waiting"),
                    ("unwritable", "max", "unwritable"),
                )
            },
            unit="none",
            steps=True,
        ),
        draw(
            "Records read",
            "driftgauge_records_total per second, at the time of the commit. A filtered record does not meet"
            " the conditions of its topic's mapping; a rejected one is a dead letter.",
            {
                "{{topic}}: {{outcome}}": "sum by (topic, outcome) "
                f"(rate(driftgauge_records_total{{{OF_INSTANCE}}}[$__rate_interval]))"
            },
            unit="ops",
        ),
        draw(
            "Stalled stable offsets",
            "driftgauge_stable_offset_stalled_seconds: the time for which a transaction has blocked the"
            " readers of a partition. DriftgaugeTransactionHanging fires above the dashed line.",
            {"{{topic}} {{partition}}": gauge("driftgauge_stable_offset_stalled_seconds", OF_SOURCE)},
            unit="s",
            line_at=300,
        ),
        draw(
            "Commits",
            "driftgauge_commits_total per second. The work of an aborted transaction is done again.",
            {
                "{{role}}: {{outcome}}": "sum by (role, outcome) "
                f"(rate(driftgauge_commits_total{{{OF_INSTANCE}}}[$__rate_interval]))"
            },
            unit="ops",
        ),
        bars(
            "Rebalances, restores and replaced clients",
            "Increase of driftgauge_consumer_rebalances_total (lost: removed without notice), of the count of"
            " driftgauge_restore_duration_seconds, and of driftgauge_sessions_lost_total.",
            {
                "{{role}}: {{kind}}": growth(
                    "driftgauge_consumer_rebalances_total", OF_INSTANCE, "role", "kind"
                ),
                "{{role}}: restored": growth(
                    "driftgauge_restore_duration_seconds_count", OF_INSTANCE, "role"
                ),
                "{{role}}: clients replaced": growth("driftgauge_sessions_lost_total", OF_INSTANCE, "role"),
            },
        ),
        bars(
            "Records lost",
            "Increase of driftgauge_records_lost_total: records that Kafka deleted before they were read; and"
            " of driftgauge_offsets_skipped_total: offsets without a record, by place.",
            {
                "{{topic}}": growth("driftgauge_records_lost_total", OF_INSTANCE, "topic"),
                "{{topic}}: offsets skipped, {{place}}": growth(
                    "driftgauge_offsets_skipped_total", OF_INSTANCE, "topic", "place"
                ),
            },
        ),
    )


def processes() -> Sequence[Panel]:
    """Return the panels of time per phase, processor, memory, clock and log."""
    duration = "driftgauge_batch_duration_seconds"
    return (
        draw(
            "Share of time by phase",
            f"Increase of {duration} per second, mean of the replicas. Counting has decode, count, commit;"
            " windows have apply, close, write. The rest to 100 % of each role is waiting.",
            {
                "{{phase}}": f"avg by (phase) (sum by (instance, phase) "
                f"(rate({duration}_sum{{{OF_INSTANCE}}}[$__rate_interval])))"
            },
            unit="percentunit",
            stacked=True,
        ),
        draw(
            "Duration of a phase, 99th percentile",
            f"The 0.99 quantile of {duration} over the selected replicas, interpolated within a bucket.",
            {
                "{{phase}}": "histogram_quantile(0.99, sum by (le, phase) "
                f"(rate({duration}_bucket{{{OF_INSTANCE}}}[$__rate_interval])))"
            },
            unit="s",
            logarithmic=True,
        ),
        draw(
            "Time since the last poll",
            "Time since driftgauge_last_poll_timestamp_seconds. /livez fails above the dashed line, 60 s.",
            {
                "{{instance}} {{role}}": "max by (instance, role) (\n"
                f"  timestamp(driftgauge_last_poll_timestamp_seconds{{{OF_INSTANCE}}})\n"
                f"  - driftgauge_last_poll_timestamp_seconds{{{OF_INSTANCE}}}\n)"
            },
            unit="s",
            line_at=60,
        ),
        draw(
            "Processor time",
            "process_cpu_seconds_total per second. 100 % is one core.",
            {"{{instance}}": f"rate(process_cpu_seconds_total{{{OF_INSTANCE}}}[$__rate_interval])"},
            unit="percentunit",
        ),
        draw(
            "Memory",
            "process_resident_memory_bytes.",
            {"{{instance}}": f"process_resident_memory_bytes{{{OF_INSTANCE}}}"},
            unit="bytes",
        ),
        draw(
            "Clock offset",
            "driftgauge_clock_offset_seconds: each replica's clock minus the brokers' clock. A replica beyond"
            " 2 s in either direction does not count.",
            {"{{instance}} {{role}}": f"driftgauge_clock_offset_seconds{{{OF_INSTANCE}}}"},
            unit="s",
        ),
        draw(
            "Open windows",
            "driftgauge_windows_open of all streams, by the owning replica. Open windows take memory.",
            {"{{instance}}": f"sum by (instance) (driftgauge_windows_open{{{OF_INSTANCE}}})"},
            unit="none",
            span=12,
        ),
        bars(
            "Log messages by level",
            "Increase of driftgauge_log_messages_total.",
            {"{{level}}": growth("driftgauge_log_messages_total", OF_INSTANCE, "level")},
            span=12,
            series={"warning": fixed("yellow"), "error": fixed("red"), "critical": fixed("purple")},
        ),
    )


def versions() -> Sequence[Panel]:
    """Return the tables of replicas with their versions and of baselines in force."""
    source = by("instance")
    baselines = f"driftgauge_baseline_info{{{OF_SOURCE}}}"
    of_baseline = ("stream", "baseline", "model_version")
    joined = ", ".join(of_baseline[1:])
    created = f"driftgauge_baseline_created_timestamp_seconds{{{OF_SOURCE}}}"
    return (
        table_of(
            "Replicas",
            "driftgauge_build_info: version of each replica; process_start_time_seconds: its uptime.",
            ("instance", "version"),
            {
                "uptime": Column(
                    f"time() - max by (instance, version) (\n  process_start_time_seconds{{{OF_INSTANCE}}}\n"
                    f"  * on ({source}) group_left (version) driftgauge_build_info{{{OF_INSTANCE}}}\n)",
                    "s",
                    0,
                )
            },
            span=8,
            order=("instance", False),
        ),
        table_of(
            "Baselines",
            "driftgauge_baseline_info: the baseline in force of each stream with the model version of its"
            " vectors, and the time of the fit (driftgauge_baseline_created_timestamp_seconds).",
            of_baseline,
            {
                "fitted": Column(
                    f"1000 * max by ({', '.join(of_baseline)}) (\n  {created}\n"
                    f"  * on ({by('instance', 'stream')}) group_left ({joined}) {baselines}\n)",
                    "dateTimeAsIso",
                ),
            },
            span=16,
            order=("stream", False),
            cells={"stream": {"links": [link("Drift", drift_url("${__data.fields.stream}")).build()]}},
        ),
    )
