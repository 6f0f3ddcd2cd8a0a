"""The pieces that the dashboards' PromQL is made of."""

from collections.abc import Mapping

from deploy.generate.recording import RECORDED

from driftgauge.core.result import Verdict
from driftgauge.telemetry.catalogue import METRICS

__all__ = [
    "OF_ITS_STREAM",
    "OF_JOB",
    "OF_PROCESS",
    "OF_STREAM",
    "OF_WINDOW",
    "VERDICT_CODES",
    "configured",
    "firing",
    "grown",
    "newest",
    "verdict_code",
]

OF_JOB = 'job=~"$job", namespace=~"$namespace"'
OF_PROCESS = f'{OF_JOB}, instance=~"$instance"'
OF_STREAM = f'{OF_JOB}, stream="$stream"'
OF_WINDOW = f'{OF_STREAM}, window="$window"'

OF_ITS_STREAM = "on (job, namespace, stream) group_left ()"
"""How a window's value is matched with what is configured of its stream."""

VERDICT_CODES: Mapping[str, int] = {verdict: code for code, verdict in enumerate(Verdict, 1)}
"""The numbers by which panels draw verdicts, for they draw numbers only."""


def newest(name: str, where: str) -> str:
    """Return the selector of a gauge of windows: the newest window's, whichever replica shows it."""
    return f"{RECORDED[name]}{{{where}}}"


def configured(name: str, where: str) -> str:
    """Return a gauge that follows from the configuration, once, though every replica exports it."""
    return f"max by ({', '.join(('job', 'namespace', *METRICS[name].labels))}) ({name}{{{where}}})"


def verdict_code(name: str, where: str, by: str) -> str:
    """Return the one verdict of five whose gauge is 1, as its code."""
    coded = "\n  or ".join(
        f"{code} * {newest(name, f'{where}, {_equal(verdict)}')}" for verdict, code in VERDICT_CODES.items()
    )
    return f"max by ({by}) (\n  {coded}\n)"


def grown(counter: str, where: str, by: str) -> str:
    """Return by how much a counter of rare happenings has grown from one point to the next.

    A counter begins at 0 with its process. So where the process is younger than that, and its series as well,
    the counter says it by itself: what happens while a process starts, such as a restore, is in its first
    scrape already.
    """
    series = f"{counter}{{{where}}}"
    young = f"process_start_time_seconds{{{OF_JOB}}} > time() - $__rate_interval_ms / 1000"
    return (
        f"sum by ({by}) (\n  ({series} unless {series} offset $__rate_interval"
        f" and on (job, namespace, instance) ({young}))\n  or increase({series}[$__rate_interval])\n)"
    )


def firing(where: str, by: str) -> str:
    """Return driftgauge's alerts that fire, each with its runbook; or one row that says there is none."""
    alerts = f'count by ({by}) (ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {where}}})'
    none = 'label_replace(vector(0), "alertname", "none", "", "")'
    return (
        f'label_replace({alerts}, "runbook", "runbooks/$1.md", "alertname", "(.+)")\n'
        f'or on () label_replace({none}, "runbook", "runbooks", "", "")'
    )


def _equal(verdict: str) -> str:
    return f'verdict="{verdict}"'
