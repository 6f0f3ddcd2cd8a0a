"""The drift dashboard: the panels of clusters."""

from deploy.generate.grafana.drift_details import LATER, UNSCORED
from deploy.generate.grafana.fields import Panel
from deploy.generate.grafana.panels import heat_map
from deploy.generate.grafana.queries import OF_WINDOW, by_cluster, gauge
from deploy.generate.grafana.tables import Column, table_of
from grafana_foundation_sdk.models import common

__all__ = ["contributions", "movers"]

_ONE_DEPLOYMENT = (
    " The panel is empty while the variables select several deployments with this stream: select one."
)
_CONTRIBUTION = "driftgauge_window_cluster_signed_js_contribution"
# While replicas change to another baseline, a cluster may have two names; one of them is enough.
_NAMES = f"topk by (cluster_id) (1, max by (cluster_id, name) (driftgauge_cluster_info{{{OF_WINDOW}}}))"


def contributions() -> Panel:
    """Return the heat map of each cluster's contribution over time."""
    contribution = by_cluster(gauge(_CONTRIBUTION, OF_WINDOW))
    # Two digits, because Grafana sorts labels as texts.
    root = f"sgn({contribution}) * sqrt(abs({contribution}))"
    padded = f'label_replace({_named(root)}, "cluster_id", "0$1", "cluster_id", "(.)")'
    # Without a name a space stands at the end, which nobody sees.
    labelled = f'label_join({padded}, "cluster_id", " ", "cluster_id", "name")'
    return heat_map(
        "Cluster contributions over time",
        f"{_CONTRIBUTION} over time, one row for each cluster, with its name (driftgauge_cluster_info): red"
        " where the cluster has more events than in the baseline, blue where fewer. Cells are signed square"
        " roots, which keeps small moves visible beside large ones. Their squares add up to the divergence."
        + LATER
        + UNSCORED
        + _ONE_DEPLOYMENT,
        labelled,
        "{{cluster_id}}",
    )


def movers() -> Panel:
    """Return the table of the newest window's clusters, by contribution."""
    size = f"abs({by_cluster(gauge(_CONTRIBUTION, OF_WINDOW))})"
    ratio = by_cluster(gauge("driftgauge_window_cluster_ratio", OF_WINDOW))
    baseline = by_cluster(gauge("driftgauge_baseline_cluster_ratio", OF_WINDOW))
    cell = common.TableBarGaugeCellOptions(mode=common.BarGaugeDisplayMode.BASIC)
    share = {"min": 0, "max": 1, "custom.cellOptions": cell}
    return table_of(
        "Clusters by contribution",
        f"Each cluster's share of the newest window's divergence (the size of {_CONTRIBUTION}), and its"
        " share of the events now (driftgauge_window_cluster_ratio) and in the baseline"
        " (driftgauge_baseline_cluster_ratio), and its name (driftgauge_cluster_info). Without drift the"
        " contributions are noise." + _ONE_DEPLOYMENT,
        ("cluster_id", "name"),
        {
            "contribution": Column(
                _named(f"{size}\n/ on () group_left () sum({size})"), "percentunit", 0, share
            ),
            "share now": Column(_named(ratio), "percentunit", 1),
            "share in baseline": Column(_named(baseline), "percentunit", 1),
            "change": Column(_named(f"{ratio}\n- {baseline}"), "percentunit", 1),
        },
        span=10,
        order=("contribution", True),
    )


def _named(by_cluster: str) -> str:
    """Return an expression by cluster with the name of each cluster that has one."""
    return (
        f"(({by_cluster})\n* on (cluster_id) group_left (name) {_NAMES}\nor on (cluster_id) ({by_cluster}))"
    )
