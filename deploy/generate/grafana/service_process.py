"""The dashboard of the service: windows, the poll loop's time, the process, and what runs."""

from deploy.generate.grafana.dashboards import Row
from deploy.generate.grafana.drawings import Axis, Look, bars, timeseries
from deploy.generate.grafana.links import drift_url
from deploy.generate.grafana.panels import Link, Panel, Query, by_name
from deploy.generate.grafana.queries import OF_JOB, OF_PROCESS, grown, newest
from deploy.generate.grafana.tables import Column, table
from deploy.generate.grafana.verdicts import VERDICT_LINES

__all__ = ["loop", "process", "versions", "windows"]

_OF_STREAMS = f'{OF_JOB}, stream=~"$stream"'
_OF_PROCESSES_STREAMS = f'{OF_PROCESS}, stream=~"$stream"'
_WINDOWS = "job, namespace, stream, window"
_LEGEND = "{{stream}} {{window}}"
_DRIFT = Link("Drift of this stream", drift_url("${__field.labels.stream}", "${__field.labels.window}"))
_STAGES = (
    " Of a batch: decode, count; of a round, once a second: close, commit, follow (reading what all replicas"
    " committed), show."
)


def windows() -> Row:
    """Return whether windows are closed, and how late."""
    closed = newest("driftgauge_window_closed_timestamp_seconds", _OF_STREAMS)
    return Row(
        "Windows",
        (
            timeseries(
                "Delay of the watermark",
                "Time since driftgauge_watermark_timestamp_seconds, up to which a stream is taken to be"
                " complete: the allowed disorder where events of the present are read. It stays behind where"
                " a partition does, and where a stream is silent it grows.",
                Query(
                    "min by (job, namespace, stream) "
                    f"({_age(f'driftgauge_watermark_timestamp_seconds{{{_OF_STREAMS}}}')})",
                    "{{stream}}",
                ),
                axis=Axis("s"),
                links=(Link("Drift of this stream", drift_url("${__field.labels.stream}")),),
            ),
            timeseries(
                "From a window's end to its closing",
                "driftgauge_window_closed_timestamp_seconds less driftgauge_window_end_timestamp_seconds of"
                " the newest window: the allowed disorder and about a second, where events of the present"
                " are read. After a revision it is the time to that.",
                Query(
                    f"{closed}\n- {newest('driftgauge_window_end_timestamp_seconds', _OF_STREAMS)}", _LEGEND
                ),
                axis=Axis("s"),
                look=Look.STEPS,
                links=(_DRIFT,),
            ),
            timeseries(
                "Time since a window was closed, of what is allowed",
                "Time since driftgauge_window_closed_timestamp_seconds in parts of"
                " driftgauge_window_overdue_seconds. At the dashed line a stream has no fresh windows, and"
                " DriftgaugeWindowsOverdue fires five minutes later.",
                Query(
                    f"(time() - {closed})\n/ on ({_WINDOWS}) max by ({_WINDOWS}) "
                    f"(driftgauge_window_overdue_seconds{{{_OF_STREAMS}}})",
                    _LEGEND,
                ),
                axis=Axis("percentunit", line_at=1),
                links=(_DRIFT,),
            ),
            bars(
                "Windows closed, by verdict",
                "Growth of driftgauge_windows_closed_total over the chosen streams. A window whose verdict a"
                " revision changes counts under both.",
                Query(
                    grown("driftgauge_windows_closed_total", _OF_PROCESSES_STREAMS, "verdict"),
                    "{{verdict}}",
                ),
                overrides=VERDICT_LINES,
            ),
            bars(
                "Revisions",
                "Growth of driftgauge_window_revisions_total: windows published again, because events or a"
                " partition came late.",
                Query(
                    grown("driftgauge_window_revisions_total", _OF_PROCESSES_STREAMS, "stream, window"),
                    _LEGEND,
                ),
            ),
            timeseries(
                "Open windows",
                "driftgauge_windows_open: windows that hold events and are open to events or corrections.",
                Query(f"max by (stream, window) (driftgauge_windows_open{{{_OF_STREAMS}}})", _LEGEND),
                axis=Axis("none", decimals=0),
                look=Look.STEPS,
            ),
        ),
    )


def loop() -> Row:
    """Return what the poll loop spends its time on."""
    buckets = f"driftgauge_batch_duration_seconds_bucket{{{OF_PROCESS}}}"
    seconds = f"driftgauge_batch_duration_seconds_sum{{{OF_PROCESS}}}"
    return Row(
        "The poll loop",
        (
            *(
                _quantile(quantile, f"sum by (le, stage) (rate({buckets}[$__rate_interval]))")
                for quantile in (0.5, 0.99)
            ),
            timeseries(
                "Share of time, by stage",
                "The growth of driftgauge_batch_duration_seconds a second, mean of the replicas; the rest of"
                " 100 % is waiting for records." + _STAGES,
                Query(
                    f"avg by (stage) (sum by (instance, stage) (rate({seconds}[$__rate_interval])))",
                    "{{stage}}",
                ),
                axis=Axis("percentunit"),
                look=Look.STACK,
            ),
            timeseries(
                "Since the last poll",
                "Time since driftgauge_last_poll_timestamp_seconds. /livez fails after a minute, the dashed"
                " line.",
                Query(
                    f"max by (instance) ({_age(f'driftgauge_last_poll_timestamp_seconds{{{OF_PROCESS}}}')})",
                    "{{instance}}",
                ),
                axis=Axis("s", line_at=60),
                width=12,
            ),
            bars(
                "Log messages, by level",
                "Growth of driftgauge_log_messages_total.",
                Query(grown("driftgauge_log_messages_total", OF_PROCESS, "level"), "{{level}}"),
                width=12,
                overrides=tuple(
                    by_name(level, color={"mode": "fixed", "fixedColor": colour})
                    for level, colour in (
                        ("debug", "#8e8e8e"),
                        ("info", "blue"),
                        ("warning", "yellow"),
                        ("error", "red"),
                        ("critical", "purple"),
                    )
                ),
            ),
        ),
    )


def process() -> Row:
    """Return what the processes take of their machines."""
    return Row(
        "Processes",
        (
            timeseries(
                "Processor time",
                "process_cpu_seconds_total a second; 100 % is one core.",
                Query(f"rate(process_cpu_seconds_total{{{OF_PROCESS}}}[$__rate_interval])", "{{instance}}"),
                axis=Axis("percentunit"),
                width=6,
            ),
            timeseries(
                "Memory",
                "process_resident_memory_bytes.",
                Query(f"process_resident_memory_bytes{{{OF_PROCESS}}}", "{{instance}}"),
                axis=Axis("bytes"),
                width=6,
            ),
            timeseries(
                "File descriptors",
                "process_open_fds of process_max_fds.",
                Query(f"process_open_fds{{{OF_PROCESS}}}\n/ process_max_fds{{{OF_PROCESS}}}", "{{instance}}"),
                axis=Axis("percentunit"),
                width=6,
            ),
            timeseries(
                "Garbage collections",
                "python_gc_collections_total a second, by generation.",
                Query(
                    "sum by (generation) "
                    f"(rate(python_gc_collections_total{{{OF_PROCESS}}}[$__rate_interval]))",
                    "generation {{generation}}",
                ),
                axis=Axis("ops"),
                width=6,
            ),
        ),
    )


def versions() -> Row:
    """Return what runs, and against which baselines."""
    return Row(
        "What runs",
        (
            table(
                "Replicas",
                "driftgauge_build_info: the version of each replica, and how long it has run"
                " (process_start_time_seconds).",
                ("instance", "version"),
                Column(
                    "runs for",
                    f"time() - max by (instance, version) (\n"
                    f"  process_start_time_seconds{{{OF_PROCESS}}}\n"
                    "  * on (job, namespace, instance) group_left (version) "
                    f"driftgauge_build_info{{{OF_PROCESS}}}\n)",
                    "s",
                    0,
                ),
                width=8,
                height=7,
                order=("instance", False),
            ),
            table(
                "Baselines",
                "driftgauge_baseline_info: the baseline of each stream, the model version it was fitted on,"
                " when it was fitted (driftgauge_baseline_created_timestamp_seconds), and how many replicas"
                " have it. Two for one stream: a change is under way, or has stopped half-way.",
                ("stream", "baseline", "model_version"),
                Column(
                    "fitted",
                    "1000 * max by (stream, baseline, model_version) (\n"
                    f"  driftgauge_baseline_created_timestamp_seconds{{{_OF_PROCESSES_STREAMS}}}\n"
                    "  * on (job, namespace, instance, stream) group_left (baseline, model_version) "
                    f"driftgauge_baseline_info{{{_OF_PROCESSES_STREAMS}}}\n)",
                    "dateTimeAsIso",
                ),
                Column(
                    "replicas",
                    "count by (stream, baseline, model_version) "
                    f"(driftgauge_baseline_info{{{_OF_PROCESSES_STREAMS}}})",
                    decimals=0,
                ),
                width=16,
                height=7,
                links={"stream": Link("Drift of this stream", drift_url("${__data.fields.stream}"))},
                order=("stream", False),
                widths={"baseline": 500, "fitted": 170, "replicas": 80},
            ),
        ),
    )


def _quantile(quantile: float, buckets: str) -> Panel:
    return timeseries(
        f"Duration of a stage, {quantile:.0%} of them take less",
        f"The {quantile:g} quantile of driftgauge_batch_duration_seconds over the chosen replicas, within a"
        " bucket interpolated." + _STAGES,
        Query(f"histogram_quantile({quantile}, {buckets})", "{{stage}}"),
        axis=Axis("s", logarithmic=True, least=None),
    )


def _age(series: str) -> str:
    """Return how old a time was when it was scraped."""
    return f"timestamp({series}) - {series}"
