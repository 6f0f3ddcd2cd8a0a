"""The building blocks of the dashboards' PromQL; none needs a recording rule."""

from collections.abc import Mapping

from deploy.generate.labels import SOURCE, by

from driftgauge.core.judging.verdict import Verdict
from driftgauge.telemetry.metrics import METRICS

__all__ = [
    "OF_INSTANCE",
    "OF_ITS_STREAM",
    "OF_SOURCE",
    "OF_STREAM",
    "OF_WINDOW",
    "VERDICT_CODES",
    "by_cluster",
    "firing",
    "gauge",
    "verdict_code",
]

OF_SOURCE = ", ".join(f'{label}=~"${label}"' for label in SOURCE)
OF_INSTANCE = f'{OF_SOURCE}, instance=~"$instance"'
OF_STREAM = f'{OF_SOURCE}, stream="$stream"'
OF_WINDOW = f'{OF_STREAM}, window="$window"'

OF_ITS_STREAM = f"on ({by('stream')}) group_left ()"
"""The matching of a window's value with a configured value of its stream."""

VERDICT_CODES: Mapping[str, int] = {verdict: code for code, verdict in enumerate(Verdict, 1)}
"""A number for each verdict, because panels draw only numbers."""


def gauge(name: str, selector: str) -> str:
    """Return a gauge without its replica, so that a shard's new owner continues the line of the old one."""
    return f"max by ({by(*METRICS[name].labels)}) ({name}{{{selector}}})"


def verdict_code(name: str, selector: str, *labels: str) -> str:
    """Return the code of the verdict whose gauge is 1."""
    coded = "\n  or ".join(
        f'{code} * {name}{{{selector}, verdict="{verdict}"}}' for verdict, code in VERDICT_CODES.items()
    )
    return f"max by ({', '.join(labels)}) (\n  {coded}\n)"


def firing(selector: str, *labels: str) -> str:
    """Return the firing alerts, each with its runbook; one row with the name `none` if there are none."""
    chosen = f'ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {selector}}}'
    alerts = f"count by ({', '.join(labels)}) ({chosen})"
    none = 'label_replace(vector(0), "alertname", "none", "", "")'
    return (
        f'label_replace({alerts}, "runbook", "runbooks/$1.md", "alertname", "(.+)")\n'
        f'or on () label_replace({none}, "runbook", "runbooks", "", "")'
    )


def by_cluster(series: str) -> str:
    """Return a series by cluster and name; no result for several deployments, whose clusters may differ."""
    one = f"count(count by ({by()}) ({series})) == 1"
    return f"(max by (cluster_id, name) ({series})\n  and on () {one})"
