"""The recording rules: of the gauges that replicas show of a window, those of the newest one and revision."""

from collections.abc import Mapping

from driftgauge.telemetry.catalogue import METRICS, Kind, Metric

__all__ = ["RECORDED", "rules"]

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

_SEVERITY = "job_stream_severity:driftgauge_alarm_severity_info:most_urgent"


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


def rules() -> dict[str, object]:
    """Return the file of recording rules, as Prometheus reads it."""
    return {"groups": [{"name": "driftgauge-recording", "rules": [*_newest(), *_severity(), *_closed()]}]}


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


def _severity() -> list[dict[str, str]]:
    """Return one severity for each stream also while its configuration is being changed."""
    by = ", ".join((*_SOURCE, "stream", "severity"))
    ways = [
        f'max by ({by}) (driftgauge_alarm_severity_info{{severity="{severity}"}})'
        for severity in ("critical", "warning", "info")
    ]
    return [{"record": _SEVERITY, "expr": f"\nor on ({', '.join((*_SOURCE, 'stream'))})\n".join(ways) + "\n"}]


def _closed() -> list[dict[str, str]]:
    """Return how many windows were closed in a time.

    A counter begins at 0 with its process. So one that did not exist before that time tells it by
    itself, also where the first scrape came after the first window.
    """
    counter = "driftgauge_windows_closed_total"
    by = ", ".join((*_SOURCE, *METRICS[counter].labels))
    return [
        {
            "record": f"job_stream_window_verdict:driftgauge_windows_closed:increase{time}",
            "expr": f"sum by ({by}) (\n  ({counter} unless {counter} offset {time})\n"
            f"  or increase({counter}[{time}])\n)\n",
        }
        for time in ("1h", "1d")
    ]
