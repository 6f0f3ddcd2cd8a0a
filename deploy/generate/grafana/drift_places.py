"""The dashboard of drift: which clusters moved, and in which segments."""

from deploy.generate.grafana.dashboards import Row
from deploy.generate.grafana.drawings import Axis, Look, bar_chart, heat_map, states, timeseries
from deploy.generate.grafana.panels import Panel, Query, by_name, line
from deploy.generate.grafana.queries import OF_STREAM, OF_WINDOW, configured, newest, verdict_code
from deploy.generate.grafana.tables import Column, table
from deploy.generate.grafana.verdicts import LATER, UNSCORED, VERDICT_NAMES

__all__ = ["SEGMENT_VERDICTS", "places", "segments"]

SEGMENT_VERDICTS = "Verdicts of segments"

_CONTRIBUTION = "driftgauge_window_cluster_signed_js_contribution"

# A cluster of this alone is a divergence of 0.09, nine times the least that is worth finding by default.
_DARKEST = 0.3

_ONE = " Nothing is drawn while several namespaces are chosen that have this stream: choose one."


def places() -> Row:
    """Return where in the embedding's space the chosen stream moved."""
    return Row("$stream, windows of $window: where", (_histograms(), _movers(), _contributions()))


def segments() -> Row:
    """Return which of the chosen stream's segments moved."""
    by = "segment, value"
    legend = "{{segment}} = {{value}}"
    none = " Nothing is drawn for a stream without segments."
    return Row(
        "$stream, windows of $window: segments",
        (
            states(
                SEGMENT_VERDICTS,
                "driftgauge_window_segment_verdict: what the newest window says of each segment, compared"
                " with the same segment of the baseline." + LATER + none,
                Query(verdict_code("driftgauge_window_segment_verdict", OF_WINDOW, by), legend),
                names=VERDICT_NAMES,
            ),
            timeseries(
                "Divergence of segments",
                "driftgauge_window_segment_js_divergence: as the stream's divergence, of each segment from"
                " the baseline's of the same. The fewer events a segment has, the higher its noise."
                + LATER
                + none,
                Query(newest("driftgauge_window_segment_js_divergence", OF_WINDOW), legend),
                axis=Axis("none"),
                look=Look.STEPS,
            ),
            timeseries(
                "Adjusted p-values of segments",
                "driftgauge_window_segment_adjusted_p_value, adjusted for the number of segments"
                " (Benjamini-Hochberg). Below the dashed line, driftgauge_alarm_p_value, a segment is"
                " significant: all of them together have as much of the budget as the whole." + LATER + none,
                Query(
                    f"clamp_min({newest('driftgauge_window_segment_adjusted_p_value', OF_WINDOW)}, 1e-12)",
                    legend,
                ),
                Query(configured("driftgauge_alarm_p_value", OF_STREAM), "significant below"),
                axis=Axis("sci", decimals=1, logarithmic=True, least=None, most=1),
                look=Look.STEPS,
                overrides=(by_name("significant below", **line("red", dashed=True)),),
            ),
            timeseries(
                "Events of segments",
                "driftgauge_window_segment_events: how many events of the newest window are in each."
                + LATER
                + none,
                Query(newest("driftgauge_window_segment_events", OF_WINDOW), legend),
                axis=Axis("short"),
                look=Look.STEPS,
            ),
        ),
    )


def _histograms() -> Panel:
    return bar_chart(
        "Histogram of the newest window, and the baseline's",
        "The share of events in each cluster: driftgauge_window_cluster_ratio of the newest window beside"
        " driftgauge_baseline_cluster_ratio. The divergence is what sets the two apart." + _ONE,
        ("baseline", "#8e8e8e", Query(_padded(_baseline_ratio()), instant=True)),
        ("newest window", "blue", Query(_padded(_ratio()), instant=True)),
        along="cluster_id",
        unit="percentunit",
        width=14,
        height=9,
    )


def _movers() -> Panel:
    size = f"abs({_by_cluster(newest(_CONTRIBUTION, OF_WINDOW))})"
    return table(
        "Clusters by how much they moved",
        f"The parts of the newest window's divergence ({_CONTRIBUTION} without its sign, of their sum), and"
        " the clusters' shares of events now (driftgauge_window_cluster_ratio) and in the baseline"
        " (driftgauge_baseline_cluster_ratio). Without drift the parts are noise as well." + _ONE,
        ("cluster_id",),
        Column(
            "of the divergence",
            f"{size}\n/ on () group_left () sum({size})",
            "percentunit",
            0,
            {"min": 0, "max": 1, "custom_cellOptions": {"type": "gauge", "mode": "basic"}},
        ),
        Column("share", _ratio(), "percentunit", 1),
        Column("in the baseline", _baseline_ratio(), "percentunit", 1),
        Column("change", f"{_ratio()}\n- {_baseline_ratio()}", "percentunit", 1),
        width=10,
        height=9,
        order=("of the divergence", True),
        widths={"cluster_id": 80, "of the divergence": 180},
    )


def _contributions() -> Panel:
    contribution = _by_cluster(newest(_CONTRIBUTION, OF_WINDOW))
    return heat_map(
        "Which clusters moved, and when",
        f"{_CONTRIBUTION} over time, a row for each cluster: red where it has more events than in the"
        " baseline, blue where fewer. Cells are signed square roots, so that small moves are seen beside"
        " large ones: their squares add up to the divergence." + LATER + UNSCORED + _ONE,
        Query(
            _padded(f"sgn({contribution}) * sqrt(abs({contribution}))"),
            "{{cluster_id}}",
        ),
        width=24,
        height=10,
        bound=_DARKEST,
    )


def _ratio() -> str:
    return _by_cluster(newest("driftgauge_window_cluster_ratio", OF_WINDOW))


def _baseline_ratio() -> str:
    return _by_cluster(f"driftgauge_baseline_cluster_ratio{{{OF_STREAM}}}")


def _by_cluster(series: str) -> str:
    """Return each cluster's; nothing where several deployments are chosen, whose clusters are others."""
    return f"(max by (cluster_id) ({series})\n  and on () count(count by (job, namespace) ({series})) == 1)"


def _padded(expr: str) -> str:
    """Return an expression with clusters of two digits, for labels are sorted as texts."""
    return f'label_replace({expr}, "cluster_id", "0$1", "cluster_id", "(.)")'
