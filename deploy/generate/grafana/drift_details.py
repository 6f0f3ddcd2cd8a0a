"""The drift dashboard: the panels of its collapsed rows, evidence, data quality and segments."""

from collections.abc import Sequence

from deploy.generate.grafana.fields import COLOURS, VERDICT_TEXTS, Panel, fixed, limit
from deploy.generate.grafana.lines import bars, draw
from deploy.generate.grafana.panels import states
from deploy.generate.grafana.queries import OF_STREAM, OF_WINDOW, by_cluster, gauge, growth, verdict_code
from deploy.generate.grafana.tables import Column, table_of

from driftgauge.core.statistics import registry

__all__ = ["LATER", "SEGMENT_VERDICTS", "SLOW_DRIFT", "UNSCORED", "evidence", "quality", "segments"]

SLOW_DRIFT = "Slow drift"
SEGMENT_VERDICTS = "Verdicts of segments"

LATER = (
    " The panel draws a window from the time of its closing, which is later than the window's start by the"
    " window's length, the allowed disorder and some seconds."
)
UNSCORED = " The panel has a gap where the newest window was not scored."


def evidence() -> Sequence[Panel]:
    """Return the panels of the evidence beside the divergence."""
    return (_kinds(), _mean_shift(), _novelty(), _spread(), _duplicates(), _slow_drift(), _detectable())


def quality() -> Sequence[Panel]:
    """Return the panels of data quality: events, missing partitions, revisions."""
    missing = gauge("driftgauge_window_missing_partition", OF_WINDOW)
    return (
        draw(
            "Events in a window",
            "driftgauge_window_events. A window below the dashed line, driftgauge_window_min_events, is not"
            " scored." + LATER,
            {
                "events": gauge("driftgauge_window_events", OF_WINDOW),
                "scored above": gauge("driftgauge_window_min_events", OF_WINDOW),
            },
            unit="short",
            span=6,
            steps=True,
            series={"events": fixed("blue"), "scored above": limit()},
        ),
        draw(
            "Problems of a window",
            "The number of missing partitions (driftgauge_window_missing_partition), whether the window is"
            " incomplete (driftgauge_window_complete is 0), and whether events may be lost"
            " (driftgauge_window_events_lost) or counted twice (driftgauge_window_counted_twice). All should"
            " be 0." + LATER,
            {
                "missing partitions": f"count(\n{missing}\n)\nor on () vector(0)",
                "incomplete": f"1 - {gauge('driftgauge_window_complete', OF_WINDOW)}",
                "events lost": gauge("driftgauge_window_events_lost", OF_WINDOW),
                "counted twice": gauge("driftgauge_window_counted_twice", OF_WINDOW),
            },
            unit="none",
            span=6,
            steps=True,
        ),
        bars(
            "Windows closed, by verdict",
            "Increase of driftgauge_windows_closed_total. The counter includes windows that no scrape saw, as"
            " in a backlog. A window whose verdict a revision changes counts under both.",
            {"{{verdict}}": growth("driftgauge_windows_closed_total", OF_WINDOW, "verdict")},
            span=6,
            series={verdict: fixed(colour) for verdict, colour in COLOURS.items()},
        ),
        bars(
            "Revisions and late events",
            "Increase of driftgauge_window_revisions_total, windows published again because events or a"
            " partition were late, and of driftgauge_late_events_total, events too late for a revision.",
            {
                "revisions": growth("driftgauge_window_revisions_total", OF_WINDOW, "stream"),
                "late events": growth("driftgauge_late_events_total", OF_WINDOW, "stream"),
            },
            span=6,
        ),
    )


def segments() -> Sequence[Panel]:
    """Return the panels of the selected stream's segments."""
    verdict = verdict_code("driftgauge_window_segment_verdict", OF_WINDOW, "segment", "value")

    def by_segment(name: str) -> str:
        return f"max by (segment, value) ({name}{{{OF_WINDOW}}})"

    return (
        states(
            SEGMENT_VERDICTS,
            "driftgauge_window_segment_verdict: the verdict of each segment in the newest window, compared"
            " with the same segment of the baseline." + LATER,
            {"{{segment}} = {{value}}": verdict},
            names=VERDICT_TEXTS,
            span=12,
        ),
        table_of(
            "Segments of the newest window",
            "driftgauge_window_segment_verdict, driftgauge_window_segment_js_divergence (noisier with fewer"
            " events), driftgauge_window_segment_adjusted_p_value (adjusted for the number of segments, which"
            " together have the same share of the alarm budget as the whole stream),"
            " driftgauge_window_segment_events.",
            ("segment", "value"),
            {
                "verdict": Column.of_texts(verdict, VERDICT_TEXTS),
                "divergence": Column(by_segment("driftgauge_window_segment_js_divergence"), decimals=4),
                "p-value": Column(by_segment("driftgauge_window_segment_adjusted_p_value"), "sci", 1),
                "events": Column(by_segment("driftgauge_window_segment_events"), "locale", 0),
            },
            span=12,
            order=("segment", False),
        ),
    )


def _mean_shift() -> Panel:
    return draw(
        "Mean shift",
        "driftgauge_window_mean_shift_excess: the size of the shift of the vectors' mean above noise, in"
        " squared standard deviations. The mean shows small shifts of all vectors, which the histogram does"
        " not. A window is large above the dashed line, driftgauge_alarm_mean_shift_excess."
        + LATER
        + UNSCORED,
        {
            "excess": gauge("driftgauge_window_mean_shift_excess", OF_WINDOW),
            "large above": gauge("driftgauge_alarm_mean_shift_excess", OF_STREAM),
        },
        unit="none",
        steps=True,
        series={"excess": fixed("blue"), "large above": limit()},
    )


def _slow_drift() -> Panel:
    return draw(
        SLOW_DRIFT,
        "driftgauge_window_slow_drift: a CUSUM of the windows' evidence, in standard deviations. From"
        " driftgauge_window_slow_drift_limit on the verdict is warning; without drift the CUSUM gets there as"
        " rarely as a false page comes." + LATER + UNSCORED,
        {
            "evidence": gauge("driftgauge_window_slow_drift", OF_WINDOW),
            "warning above": gauge("driftgauge_window_slow_drift_limit", OF_WINDOW),
        },
        unit="none",
        steps=True,
        series={"evidence": fixed("blue"), "warning above": limit()},
    )


def _kinds() -> Panel:
    return draw(
        "Kind of drift",
        "driftgauge_window_evidence_ratio: the share of each kind in the evidence; the largest names the"
        f" drift. Kinds: {registry.list_kinds()}."
        + LATER
        + " The panel has a gap where the newest window is not significant.",
        {"{{kind}}": f"max by (kind) (driftgauge_window_evidence_ratio{{{OF_WINDOW}}})"},
        unit="percentunit",
        steps=True,
    )


def _novelty() -> Panel:
    return draw(
        "Novelty",
        "driftgauge_window_novelty_excess_ratio: driftgauge_window_novelty_ratio, the share of events beyond"
        " the radius of their cluster, less its expectation of about 1 %. Where the window is significant and"
        " one cluster holds most of the excess, its part is drawn too"
        " (driftgauge_window_cluster_novelty_contribution). A window is large above the dashed line,"
        " driftgauge_alarm_novelty_excess_ratio." + LATER + UNSCORED,
        {
            "excess": gauge("driftgauge_window_novelty_excess_ratio", OF_WINDOW),
            "in cluster {{cluster_id}}": by_cluster(
                gauge("driftgauge_window_cluster_novelty_contribution", OF_WINDOW)
            ),
            "large above": gauge("driftgauge_alarm_novelty_excess_ratio", OF_STREAM),
        },
        unit="percentunit",
        steps=True,
        series={"excess": fixed("blue"), "large above": limit()},
    )


def _spread() -> Panel:
    return draw(
        "Spread",
        "driftgauge_window_spread_change_ratio: how much further from the baseline's mean the events lie, by"
        " their mean squared distance along the leading components and in the residual. 21 % means that all"
        " distances grew by a tenth. A window is large where a change less that of a clean window is beyond"
        " the dashed line, driftgauge_alarm_spread_excess_ratio, in either direction." + LATER + UNSCORED,
        {
            "{{part}}": f"max by (part) (driftgauge_window_spread_change_ratio{{{OF_WINDOW}}})",
            "large above": gauge("driftgauge_alarm_spread_excess_ratio", OF_STREAM),
        },
        unit="percentunit",
        steps=True,
        series={"large above": limit()},
    )


def _duplicates() -> Panel:
    return draw(
        "Duplicates",
        "driftgauge_window_duplicates_ratio: the share of events that one repeated item would be, for as many"
        " pairs of equal events above the baseline's rate. Where it is significant, a window is large above"
        " the dashed line, driftgauge_alarm_duplicates_ratio." + LATER + UNSCORED,
        {
            "share": gauge("driftgauge_window_duplicates_ratio", OF_WINDOW),
            "large above": gauge("driftgauge_alarm_duplicates_ratio", OF_STREAM),
        },
        unit="percentunit",
        steps=True,
        series={"share": fixed("blue"), "large above": limit()},
    )


def _detectable() -> Panel:
    return draw(
        "Least detectable drift",
        "driftgauge_window_detectable_ratio: the least drift that 80 % of windows with this event count find,"
        " over the configured smallest drift. Above the dashed line drift worth finding may be missed."
        + LATER
        + UNSCORED,
        {"{{kind}}": f"max by (kind) (driftgauge_window_detectable_ratio{{{OF_WINDOW}}})"},
        unit="none",
        steps=True,
        line_at=1,
    )
