"""The dashboard of drift, what stands in its closed rows: more evidence, trust, segments."""

from collections.abc import Sequence

from deploy.generate.grafana.fields import COLOURS, VERDICT_TEXTS, Panel, fixed, limit
from deploy.generate.grafana.lines import bars, draw
from deploy.generate.grafana.panels import states
from deploy.generate.grafana.queries import OF_STREAM, OF_WINDOW, gauge, grown, verdict_code
from deploy.generate.grafana.tables import Column, table_of

__all__ = ["LATER", "SEGMENT_VERDICTS", "SLOW_DRIFT", "UNSCORED", "evidence", "segments", "trust"]

SLOW_DRIFT = "Slow drift"
SEGMENT_VERDICTS = "Verdicts of segments"

LATER = (
    " A window is drawn from when it was closed: later than its own time by its length, the allowed"
    " disorder and some seconds."
)
UNSCORED = " Nothing is drawn where the newest window was not scored."


def evidence() -> Sequence[Panel]:
    """Return what a verdict goes by beside the divergence."""
    return (_mean_shift(), _slow_drift(), _novelty())


def trust() -> Sequence[Panel]:
    """Return what a verdict rests on: enough events, all partitions, final counts."""
    missing = gauge("driftgauge_window_missing_partition", OF_WINDOW)
    return (
        draw(
            "Events in a window",
            "driftgauge_window_events. Below the dashed line, driftgauge_window_min_events, a window is not"
            " scored." + LATER,
            {
                "events": gauge("driftgauge_window_events", OF_WINDOW),
                "scored from here on": gauge("driftgauge_window_min_events", OF_WINDOW),
            },
            unit="short",
            span=6,
            steps=True,
            series={"events": fixed("blue"), "scored from here on": limit()},
        ),
        draw(
            "What is wrong with a window",
            "How many partitions it lacks (driftgauge_window_missing_partition), whether it is incomplete"
            " (driftgauge_window_complete is 0), and whether events of it may be lost"
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
            "Growth of driftgauge_windows_closed_total. It counts windows that no scrape saw as well, as in a"
            " backlog. A window whose verdict a revision changes counts under both.",
            {"{{verdict}}": grown("driftgauge_windows_closed_total", OF_WINDOW, "verdict")},
            span=6,
            series={verdict: fixed(colour) for verdict, colour in COLOURS.items()},
        ),
        bars(
            "Corrections, and late events",
            "Growth of driftgauge_window_revisions_total: windows published again, because events or a"
            " partition came late; and of driftgauge_late_events_total: events that came too late for that.",
            {
                "corrections": grown("driftgauge_window_revisions_total", OF_WINDOW, "stream"),
                "late events": grown("driftgauge_late_events_total", OF_WINDOW, "stream"),
            },
            span=6,
        ),
    )


def segments() -> Sequence[Panel]:
    """Return which of the chosen stream's segments moved."""
    verdict = verdict_code("driftgauge_window_segment_verdict", OF_WINDOW, "segment", "value")

    def of_segment(name: str) -> str:
        return f"max by (segment, value) ({name}{{{OF_WINDOW}}})"

    return (
        states(
            SEGMENT_VERDICTS,
            "driftgauge_window_segment_verdict: what the newest window says of each segment, compared with"
            " the same segment of the baseline." + LATER,
            {"{{segment}} = {{value}}": verdict},
            names=VERDICT_TEXTS,
            span=12,
        ),
        table_of(
            "Segments of the newest window",
            "driftgauge_window_segment_verdict, driftgauge_window_segment_js_divergence (the fewer events,"
            " the higher its noise), driftgauge_window_segment_adjusted_p_value (adjusted for the number of"
            " segments, so that all together have as much of the budget as the whole),"
            " driftgauge_window_segment_events.",
            ("segment", "value"),
            {
                "verdict": Column.of_texts(verdict, VERDICT_TEXTS),
                "divergence": Column(of_segment("driftgauge_window_segment_js_divergence"), decimals=4),
                "p-value": Column(of_segment("driftgauge_window_segment_adjusted_p_value"), "sci", 1),
                "events": Column(of_segment("driftgauge_window_segment_events"), "locale", 0),
            },
            span=12,
            order=("segment", False),
        ),
    )


def _mean_shift() -> Panel:
    return draw(
        "Shift of the mean",
        "driftgauge_window_mean_shift_excess: the size of the shift of the vectors' mean, squared standard"
        " deviations above what noise makes. It sees small shifts of everything, which the histogram does"
        " not. A window is large from the dashed line on, driftgauge_alarm_mean_shift_excess."
        + LATER
        + UNSCORED,
        {
            "excess": gauge("driftgauge_window_mean_shift_excess", OF_WINDOW),
            "large from here on": gauge("driftgauge_alarm_mean_shift_excess", OF_STREAM),
        },
        unit="none",
        steps=True,
        series={"excess": fixed("blue"), "large from here on": limit()},
    )


def _slow_drift() -> Panel:
    return draw(
        SLOW_DRIFT,
        "driftgauge_window_slow_drift: small evidence that builds up over the windows, a CUSUM, in standard"
        " deviations. At driftgauge_window_slow_drift_limit it warns; without drift as rarely as a false"
        " page." + LATER + UNSCORED,
        {
            "evidence": gauge("driftgauge_window_slow_drift", OF_WINDOW),
            "warns from here on": gauge("driftgauge_window_slow_drift_limit", OF_WINDOW),
        },
        unit="none",
        steps=True,
        series={"evidence": fixed("blue"), "warns from here on": limit()},
    )


def _novelty() -> Panel:
    return draw(
        "Novelty",
        "driftgauge_window_novelty_ratio: the share of events further from their centroid than 99 % of the"
        " baseline's. Without drift it is about 1 %, the dashed line." + LATER + UNSCORED,
        {"novel": gauge("driftgauge_window_novelty_ratio", OF_WINDOW)},
        unit="percentunit",
        steps=True,
        line_at=0.01,
    )
