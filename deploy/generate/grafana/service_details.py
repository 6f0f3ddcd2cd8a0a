"""The dashboard of the service, what stands in its closed rows: Kafka, processes, what runs."""

from collections.abc import Sequence

from deploy.generate.grafana.dashboards import drift_url
from deploy.generate.grafana.fields import Panel, fixed, link
from deploy.generate.grafana.lines import bars, draw
from deploy.generate.grafana.queries import OF_INSTANCE, OF_SOURCE, gauge, grown
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import by

__all__ = ["kafka", "processes", "versions"]


def kafka() -> Sequence[Panel]:
    """Return how partitions and shards are read, held and written."""
    lag = f"driftgauge_consumer_lag_messages{{{OF_SOURCE}}}"
    pace = f"deriv(driftgauge_consumer_position_offset{{{OF_SOURCE}}}[$__rate_interval])"
    return (
        draw(
            "Time to read what waits",
            "driftgauge_consumer_lag_messages over the pace of reading, the slope of"
            " driftgauge_consumer_position_offset, taken to be one record a second at least."
            " DriftgaugeLagGrowing fires where it is above ten minutes and grows.",
            {"{{topic}}": f"sum by (topic) ({lag})\n/ clamp_min(sum by (topic) ({pace}), 1)"},
            unit="s",
            line_at=600,
        ),
        draw(
            "Partitions and shards",
            "Of each topic: how many replicas hold (driftgauge_consumer_assigned_partitions), how many of"
            " these stand still (driftgauge_consumer_stopped_partitions), and how many a replica could not"
            " write to (driftgauge_unwritable_partitions).",
            {
                f"{{{{topic}}}}: {name}": f"{over} by (topic) (driftgauge_{metric}_partitions{{{OF_SOURCE}}})"
                for name, over, metric in (
                    ("held", "sum", "consumer_assigned"),
                    ("stopped", "sum", "consumer_stopped"),
                    ("unwritable", "max", "unwritable"),
                )
            },
            unit="none",
            steps=True,
        ),
        draw(
            "Stable offsets that stand still",
            "driftgauge_stable_offset_stalled_seconds: how long a transaction has kept readers of a partition"
            " waiting. DriftgaugeTransactionHanging fires at the dashed line.",
            {"{{topic}} {{partition}}": gauge("driftgauge_stable_offset_stalled_seconds", OF_SOURCE)},
            unit="s",
            line_at=300,
        ),
        draw(
            "Commits",
            "driftgauge_commits_total a second. What an aborted transaction held is worked on again.",
            {
                "{{role}}: {{outcome}}": "sum by (role, outcome) "
                f"(rate(driftgauge_commits_total{{{OF_INSTANCE}}}[$__rate_interval]))"
            },
            unit="ops",
        ),
        bars(
            "Changes of hands",
            "Growth of driftgauge_consumer_rebalances_total (lost: taken away without notice), of the number"
            " of driftgauge_restore_duration_seconds, and of driftgauge_sessions_lost_total.",
            {
                "{{role}}: {{kind}}": grown(
                    "driftgauge_consumer_rebalances_total", OF_INSTANCE, "role", "kind"
                ),
                "{{role}}: restored": grown("driftgauge_restore_duration_seconds_count", OF_INSTANCE, "role"),
                "{{role}}: clients replaced": grown("driftgauge_sessions_lost_total", OF_INSTANCE, "role"),
            },
        ),
        bars(
            "Records lost",
            "Growth of driftgauge_records_lost_total: records that the topic no longer kept when they were to"
            " be read.",
            {"{{topic}}": grown("driftgauge_records_lost_total", OF_INSTANCE, "topic")},
        ),
    )


def processes() -> Sequence[Panel]:
    """Return what the replicas spend their time on, and what they take of their machines."""
    stage = "driftgauge_batch_duration_seconds"
    return (
        draw(
            "Share of time, by stage",
            f"The growth of {stage} a second, mean of the replicas. Counting has decode, count, commit;"
            " windows have apply, close, write; the rest of 100 % of each is waiting.",
            {
                "{{stage}}": f"avg by (stage) (sum by (instance, stage) "
                f"(rate({stage}_sum{{{OF_INSTANCE}}}[$__rate_interval])))"
            },
            unit="percentunit",
            stacked=True,
        ),
        draw(
            "Duration of a stage, 99 % of them take less",
            f"The 0.99 quantile of {stage} over the chosen replicas, within a bucket interpolated.",
            {
                "{{stage}}": "histogram_quantile(0.99, sum by (le, stage) "
                f"(rate({stage}_bucket{{{OF_INSTANCE}}}[$__rate_interval])))"
            },
            unit="s",
            logarithmic=True,
        ),
        draw(
            "Since the last poll",
            "Time since driftgauge_last_poll_timestamp_seconds. /livez fails after a minute, the dashed"
            " line.",
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
            "process_cpu_seconds_total a second; 100 % is one core.",
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
            "Clock",
            "driftgauge_clock_offset_seconds: each replica's clock less the brokers'. Beyond 2 s either way"
            " it does not count.",
            {"{{instance}} {{role}}": f"driftgauge_clock_offset_seconds{{{OF_INSTANCE}}}"},
            unit="s",
        ),
        draw(
            "Open windows",
            "driftgauge_windows_open of all streams, by the replica that owns them: what memory is needed"
            " for.",
            {"{{instance}}": f"sum by (instance) (driftgauge_windows_open{{{OF_INSTANCE}}})"},
            unit="none",
            span=12,
        ),
        bars(
            "Log messages, by level",
            "Growth of driftgauge_log_messages_total.",
            {"{{level}}": grown("driftgauge_log_messages_total", OF_INSTANCE, "level")},
            span=12,
            series={"warning": fixed("yellow"), "error": fixed("red"), "critical": fixed("purple")},
        ),
    )


def versions() -> Sequence[Panel]:
    """Return what runs, and with which baselines."""
    source = by("instance")
    baselines = f"driftgauge_baseline_info{{{OF_SOURCE}}}"
    of_baseline = ("stream", "baseline", "model_version")
    given = ", ".join(of_baseline[1:])
    created = f"driftgauge_baseline_created_timestamp_seconds{{{OF_SOURCE}}}"
    return (
        table_of(
            "Replicas",
            "driftgauge_build_info: the version of each replica, and how long it has run"
            " (process_start_time_seconds).",
            ("instance", "version"),
            {
                "runs for": Column(
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
            "driftgauge_baseline_info: the baseline in force of each stream, the model version it was fitted"
            " on, and when it was fitted (driftgauge_baseline_created_timestamp_seconds).",
            of_baseline,
            {
                "fitted": Column(
                    f"1000 * max by ({', '.join(of_baseline)}) (\n  {created}\n"
                    f"  * on ({by('instance', 'stream')}) group_left ({given}) {baselines}\n)",
                    "dateTimeAsIso",
                ),
            },
            span=16,
            order=("stream", False),
            cells={"stream": {"links": [link("Drift", drift_url("${__data.fields.stream}")).build()]}},
        ),
    )
