"""The recording rules: of the gauges that replicas show of a window, those of the newest one and revision."""

from collections.abc import Mapping

from driftgauge.telemetry.catalogue import METRICS, Kind, Metric

__all__ = ["RECORDED", "groups"]

# Not a gauge's own: what the last window that says anything says of drift.
_SAID_DRIFT = "job_stream_window:driftgauge_window_verdict:said_drift"

_ORDER = "job_instance_stream_window:driftgauge_window_order:newest"

# By these alone, so that it does not matter which other labels a scrape adds.
_SOURCE = ("job", "namespace")

# The same from the start of a process to its end: they tell of no window.
_CONFIGURED = {
    "driftgauge_window_duration_seconds",
    "driftgauge_window_min_events",
    "driftgauge_window_overdue_seconds",
    "driftgauge_windows_open",
}

_SEVERITY = "job_stream_severity:driftgauge_alarm_severity_info"

_SECONDS = {"1h": 3_600, "1d": 86_400}


def _of_windows(metric: Metric) -> bool:
    return (
        metric.kind is Kind.GAUGE
        and metric.labels[:2] == ("stream", "window")
        and metric.name not in _CONFIGURED
    )


RECORDED: Mapping[str, str] = {
    name: f"{'_'.join(('job', *metric.labels))}:{name}:newest"
    for name, metric in METRICS.items()
    if _of_windows(metric)
}
"""The gauges that tell of a window, by name, and what each is recorded as."""


def groups() -> list[dict[str, object]]:
    """Return the group of recording rules."""
    return [{"name": "driftgauge-recording", "rules": [*_newest(), _said_drift(), *_severity(), *_grown()]}]


def _newest() -> list[dict[str, str]]:
    # Ends lie a second apart or more; a window has far fewer than a million revisions, and the sum
    # stays below 2^53.
    order = "driftgauge_window_end_timestamp_seconds * 1e6 + driftgauge_window_revision"
    window = ", ".join((*_SOURCE, "stream", "window"))
    recorded = [
        {
            "record": _ORDER,
            "expr": f"{order}\n== on ({window}) group_left ()\nmax by ({window}) ({order})\n",
        }
    ]
    for name, record in RECORDED.items():
        by = ", ".join((*_SOURCE, *METRICS[name].labels))
        on = ", ".join((*_SOURCE, "instance", "stream", "window"))
        recorded.append(
            {"record": record, "expr": f"max by ({by}) (\n  {name}\n  and on ({on}) {_ORDER}\n)\n"}
        )
    return recorded


def _said_drift() -> dict[str, str]:
    """Return whether the last window that says anything says drift, 1 or 0: one that says nothing ends none.

    It goes on from what it said itself, which may be an hour ago: the service, or Prometheus, was away. Not
    from the alert's own state, which outlasts the end of drift by the time it is kept firing.
    """
    verdict = RECORDED["driftgauge_window_verdict"]
    window = ", ".join((*_SOURCE, "stream", "window"))
    silent = f'{verdict}{{verdict=~"incomplete|insufficient"}} == 1'
    expr = (
        f'sum by ({window}) ({verdict}{{verdict="drift"}})\n'
        f"  unless on ({window}) {silent}\n"
        f"or\n"
        f"last_over_time({_SAID_DRIFT}[1h])\n"
        f"  and on ({window}) {silent}\n"
    )
    return {"record": _SAID_DRIFT, "expr": expr}


def _severity() -> list[dict[str, str]]:
    """Return one severity for each stream, also while its configuration is being changed."""
    by = ", ".join((*_SOURCE, "stream", "severity"))
    ways = [
        f'max by ({by}) (driftgauge_alarm_severity_info{{severity="{severity}"}})'
        for severity in ("critical", "warning", "info")
    ]
    most_urgent = f"{_SEVERITY}:most_urgent"
    return [
        {"record": most_urgent, "expr": f"\nor on ({', '.join((*_SOURCE, 'stream'))})\n".join(ways) + "\n"},
        # Of what is less than drift of the whole stream, nobody is paged.
        {
            "record": f"{_SEVERITY}:at_most_warning",
            "expr": f'label_replace({most_urgent}, "severity", "warning", "severity", "critical")',
        },
    ]


def _grown() -> list[dict[str, str]]:
    """Return by how much counters of rare happenings have grown in a time.

    A counter begins at 0 with its process. So where the process is younger than that time, and its series
    as well, the counter says it by itself, whatever happened before the first scrape. Its series alone would
    not do: one that is missed by a scrape, or by a Prometheus that was not there yet, tells of long ago.
    """
    grown = []
    for counter, time in (
        ("driftgauge_windows_closed_total", "1h"),
        ("driftgauge_windows_closed_total", "1d"),
        ("driftgauge_records_lost_total", "1h"),
    ):
        labels = METRICS[counter].labels
        record = f"{'_'.join(('job', *labels))}:{counter.removesuffix('_total')}:increase{time}"
        process = ", ".join((*_SOURCE, "instance"))
        young = f"on ({process}) (process_start_time_seconds > time() - {_SECONDS[time]})"
        expr = (
            f"sum by ({', '.join((*_SOURCE, *labels))}) (\n"
            f"  ({counter} unless {counter} offset {time} and {young})\n"
            f"  or increase({counter}[{time}])\n)\n"
        )
        grown.append({"record": record, "expr": expr})
    return grown
