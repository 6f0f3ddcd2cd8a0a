"""The pieces that the dashboards' PromQL is made of; none needs a recording rule."""

from collections.abc import Mapping

from deploy.generate.labels import SOURCE, by

from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.catalogue import METRICS

__all__ = [
    "OF_INSTANCE",
    "OF_ITS_STREAM",
    "OF_SOURCE",
    "OF_STREAM",
    "OF_WINDOW",
    "VERDICT_CODES",
    "age",
    "firing",
    "gauge",
    "grown",
    "verdict_code",
]

OF_SOURCE = ", ".join(f'{label}=~"${label}"' for label in SOURCE)
OF_INSTANCE = f'{OF_SOURCE}, instance=~"$instance"'
OF_STREAM = f'{OF_SOURCE}, stream="$stream"'
OF_WINDOW = f'{OF_STREAM}, window="$window"'

OF_ITS_STREAM = f"on ({by('stream')}) group_left ()"
"""How a window's value is matched with what is configured of its stream."""

VERDICT_CODES: Mapping[str, int] = {verdict: code for code, verdict in enumerate(Verdict, 1)}
"""The numbers by which panels draw verdicts, for they draw numbers only."""


def gauge(name: str, where: str) -> str:
    """Return a gauge without its replica: a shard's new owner goes on with the line of the old one."""
    return f"max by ({by(*METRICS[name].labels)}) ({name}{{{where}}})"


def age(name: str, where: str) -> str:
    """Return how long ago the time was that a gauge holds, as it was when it was scraped."""
    series = f"{name}{{{where}}}"
    return f"min by ({by(*METRICS[name].labels)}) (timestamp({series}) - {series})"


def verdict_code(name: str, where: str, *labels: str) -> str:
    """Return the one verdict of five whose gauge is 1, as its code."""
    coded = "\n  or ".join(
        f'{code} * {name}{{{where}, verdict="{verdict}"}}' for verdict, code in VERDICT_CODES.items()
    )
    return f"max by ({', '.join(labels)}) (\n  {coded}\n)"


def grown(counter: str, where: str, *labels: str) -> str:
    """Return by how much a counter has grown from one point to the next."""
    return f"sum by ({', '.join(labels)}) (increase({counter}{{{where}}}[$__rate_interval]))"


def firing(where: str, *labels: str) -> str:
    """Return driftgauge's alerts that fire, each with its runbook; or one row that says there is none."""
    alerts = (
        f'count by ({", ".join(labels)}) (ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {where}}})'
    )
    none = 'label_replace(vector(0), "alertname", "none", "", "")'
    return (
        f'label_replace({alerts}, "runbook", "runbooks/$1.md", "alertname", "(.+)")\n'
        f'or on () label_replace({none}, "runbook", "runbooks", "", "")'
    )
