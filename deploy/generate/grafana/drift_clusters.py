"""The dashboard of drift: which clusters moved."""

from deploy.generate.grafana.drift_details import LATER, UNSCORED
from deploy.generate.grafana.fields import Panel
from deploy.generate.grafana.panels import heat_map
from deploy.generate.grafana.queries import OF_STREAM, OF_WINDOW, gauge
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import by

__all__ = ["contributions", "movers"]

_ONE = " Nothing is drawn while several deployments are chosen that have this stream: choose one."
_CONTRIBUTION = "driftgauge_window_cluster_signed_js_contribution"


def contributions() -> Panel:
    """Return which clusters moved over time."""
    contribution = _by_cluster(gauge(_CONTRIBUTION, OF_WINDOW))
    # Clusters of two digits, for labels are sorted as texts.
    root = f"sgn({contribution}) * sqrt(abs({contribution}))"
    padded = f'label_replace({root}, "cluster_id", "0$1", "cluster_id", "(.)")'
    return heat_map(
        "Which clusters moved, and when",
        f"{_CONTRIBUTION} over time, a row for each cluster: red where it has more events than in the"
        " baseline, blue where fewer. Cells are signed square roots, so that small moves are seen beside"
        " large ones: their squares add up to the divergence." + LATER + UNSCORED + _ONE,
        padded,
        "{{cluster_id}}",
    )


def movers() -> Panel:
    """Return the clusters of the newest window, those first that moved most."""
    size = f"abs({_by_cluster(gauge(_CONTRIBUTION, OF_WINDOW))})"
    ratio = _by_cluster(gauge("driftgauge_window_cluster_ratio", OF_WINDOW))
    baseline = _by_cluster(gauge("driftgauge_baseline_cluster_ratio", OF_STREAM))
    part = {"min": 0, "max": 1, "custom.cellOptions": {"type": "gauge", "mode": "basic"}}
    return table_of(
        "Clusters by how much they moved",
        f"The parts of the newest window's divergence ({_CONTRIBUTION} without its sign, of their sum), and"
        " the clusters' shares of events now (driftgauge_window_cluster_ratio) and in the baseline"
        " (driftgauge_baseline_cluster_ratio). Without drift the parts are noise as well." + _ONE,
        ("cluster_id",),
        {
            "of the divergence": Column(f"{size}\n/ on () group_left () sum({size})", "percentunit", 0, part),
            "share": Column(ratio, "percentunit", 1),
            "in the baseline": Column(baseline, "percentunit", 1),
            "change": Column(f"{ratio}\n- {baseline}", "percentunit", 1),
        },
        span=10,
        order=("of the divergence", True),
    )


def _by_cluster(series: str) -> str:
    """Return each cluster's; nothing where several deployments are chosen, whose clusters are others."""
    one = f"count(count by ({by()}) ({series})) == 1"
    return f"(max by (cluster_id) ({series})\n  and on () {one})"
