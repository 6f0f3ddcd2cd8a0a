"""The dashboard of drift: what the verdict goes by, and how far that can be trusted."""

from deploy.generate.grafana.dashboards import Row
from deploy.generate.grafana.drawings import Axis, Look, bars, timeseries
from deploy.generate.grafana.panels import Panel, Query, by_name, line
from deploy.generate.grafana.queries import OF_ITS_STREAM, OF_STREAM, OF_WINDOW, configured, grown, newest
from deploy.generate.grafana.verdicts import LATER, UNSCORED, VERDICT_LINES

__all__ = ["SLOW_DRIFT", "evidence", "trust"]

SLOW_DRIFT = "Slow drift"

_LIMIT = line("red", dashed=True)

# Below it there is nothing to tell apart, and the axis counts powers of ten.
_LEAST_P_VALUE = 1e-12


def evidence() -> Row:
    """Return how far the chosen stream's windows are from the baseline, and how sure that is."""
    return Row(
        "$stream, windows of $window: whether, how much, and since when",
        (_divergence(), _p_values(), _mean_shift(), _slow_drift(), _t2(), _centroid_distance(), _novelty()),
    )


def trust() -> Row:
    """Return what a verdict rests on: enough events, all partitions, final counts."""
    return Row(
        "$stream, windows of $window: how far to trust it",
        (_events(), _closed(), _missing(), _revisions(), _late()),
    )


def _divergence() -> Panel:
    floor = newest("driftgauge_window_noise_floor", OF_WINDOW)
    return timeseries(
        "Divergence",
        "driftgauge_window_js_divergence: the Jensen-Shannon divergence, base 2, from 0 to 1, of each"
        " window's histogram from the baseline's. Without drift it is about its noise floor"
        " (driftgauge_window_noise_floor), not 0. A window is large from the dashed line on: noise floor and"
        " driftgauge_alarm_js_excess." + LATER + UNSCORED,
        Query(newest("driftgauge_window_js_divergence", OF_WINDOW), "divergence"),
        Query(floor, "noise floor"),
        Query(
            f"{floor}\n+ {OF_ITS_STREAM} {configured('driftgauge_alarm_js_excess', OF_STREAM)}",
            "large from here on",
        ),
        axis=Axis("none"),
        width=12,
        height=9,
        look=Look.STEPS,
        overrides=(
            by_name("divergence", **line("blue"), custom_lineWidth=2),
            by_name("noise floor", **line("#8e8e8e"), custom_fillOpacity=25),
            by_name("large from here on", **_LIMIT),
        ),
    )


def _p_values() -> Panel:
    parts = {
        "of all together": "driftgauge_window_p_value",
        "of the divergence": "driftgauge_window_js_p_value",
        "of T2": "driftgauge_window_mean_shift_p_value",
        "of the centroid distance": "driftgauge_window_centroid_p_value",
    }
    return timeseries(
        "p-values",
        "How often, without drift, a window is as extreme. The verdict goes by driftgauge_window_p_value,"
        " which combines driftgauge_window_js_p_value, driftgauge_window_mean_shift_p_value and"
        " driftgauge_window_centroid_p_value; below the dashed line, driftgauge_alarm_p_value, a window is"
        " significant. Values below 1e-12 are drawn there. Where the windows are not calibrated, they"
        " may be too small." + LATER + UNSCORED,
        *(
            Query(f"clamp_min({newest(name, OF_WINDOW)}, {_LEAST_P_VALUE:g})", legend)
            for legend, name in parts.items()
        ),
        Query(configured("driftgauge_alarm_p_value", OF_STREAM), "significant below"),
        axis=Axis("sci", decimals=1, logarithmic=True, least=None, most=1),
        width=12,
        height=9,
        look=Look.STEPS,
        overrides=(
            by_name("of all together", **line("blue"), custom_lineWidth=2),
            by_name("significant below", **_LIMIT),
        ),
    )


def _mean_shift() -> Panel:
    return timeseries(
        "Shift of the mean",
        "driftgauge_window_mean_shift_excess: the size of the shift of the vectors' mean, squared standard"
        " deviations above what noise makes. It sees small shifts of everything, which the histogram does"
        " not. A window is large from the dashed line on, driftgauge_alarm_mean_shift_excess."
        + LATER
        + UNSCORED,
        Query(newest("driftgauge_window_mean_shift_excess", OF_WINDOW), "excess"),
        Query(configured("driftgauge_alarm_mean_shift_excess", OF_STREAM), "large from here on"),
        axis=Axis("none", least=None),
        width=12,
        look=Look.STEPS,
        overrides=(
            by_name("excess", **line("blue"), custom_lineWidth=2),
            by_name("large from here on", **_LIMIT),
        ),
    )


def _slow_drift() -> Panel:
    return timeseries(
        SLOW_DRIFT,
        "driftgauge_window_slow_drift: small evidence that builds up over the windows, a CUSUM, in standard"
        " deviations. At driftgauge_window_slow_drift_limit it warns; without drift as rarely as a false"
        " page." + LATER + UNSCORED,
        Query(newest("driftgauge_window_slow_drift", OF_WINDOW), "evidence"),
        Query(newest("driftgauge_window_slow_drift_limit", OF_WINDOW), "warns from here on"),
        axis=Axis("none", decimals=1),
        width=12,
        look=Look.STEPS,
        overrides=(
            by_name("evidence", **line("blue"), custom_lineWidth=2),
            by_name("warns from here on", **_LIMIT),
        ),
    )


def _t2() -> Panel:
    return timeseries(
        "Hotelling's T2",
        "driftgauge_window_mean_shift_t2: the shift of the mean along the baseline's leading components, over"
        " its noise. It grows with the number of events; the excess does not." + LATER + UNSCORED,
        Query(newest("driftgauge_window_mean_shift_t2", OF_WINDOW), "T2"),
        axis=Axis("none"),
        look=Look.STEPS,
        overrides=(by_name("T2", **line("blue")),),
    )


def _centroid_distance() -> Panel:
    return timeseries(
        "Centroid distance",
        "driftgauge_window_centroid_distance: how far the mean moved along the baseline's leading"
        " components, in the embedding's own unit." + LATER + UNSCORED,
        Query(newest("driftgauge_window_centroid_distance", OF_WINDOW), "distance"),
        axis=Axis("none"),
        look=Look.STEPS,
        overrides=(by_name("distance", **line("blue")),),
    )


def _novelty() -> Panel:
    return timeseries(
        "Novelty",
        "driftgauge_window_novelty_ratio: the share of events further from their centroid than 99 % of the"
        " baseline's. Without drift it is about 1 %, the dashed line." + LATER + UNSCORED,
        Query(newest("driftgauge_window_novelty_ratio", OF_WINDOW), "novel"),
        axis=Axis("percentunit", line_at=0.01),
        look=Look.STEPS,
        overrides=(by_name("novel", **line("blue")),),
    )


def _events() -> Panel:
    return timeseries(
        "Events in a window",
        "driftgauge_window_events. Below the dashed line, driftgauge_window_min_events, a window is not"
        " scored." + LATER,
        Query(newest("driftgauge_window_events", OF_WINDOW), "events"),
        Query(configured("driftgauge_window_min_events", OF_WINDOW), "scored from here on"),
        axis=Axis("short"),
        look=Look.STEPS,
        overrides=(by_name("events", **line("blue")), by_name("scored from here on", **_LIMIT)),
    )


def _closed() -> Panel:
    return bars(
        "Windows closed, by verdict",
        "Growth of driftgauge_windows_closed_total. It counts windows that no scrape saw as well, as in a"
        " backlog. A window whose verdict a revision changes counts under both.",
        Query(grown("driftgauge_windows_closed_total", OF_WINDOW, "verdict"), "{{verdict}}"),
        overrides=VERDICT_LINES,
    )


def _missing() -> Panel:
    complete = newest("driftgauge_window_complete", OF_WINDOW)
    return timeseries(
        "Missing partitions, lost events",
        "How many partitions had not passed the window's end when it was published"
        " (driftgauge_window_missing_partition; none where driftgauge_window_complete is 1), and whether"
        " events of it may have been lost to the topic's retention (driftgauge_window_events_lost). Both"
        " should be 0." + LATER,
        Query(
            "count by (job, namespace, stream, window) "
            f"({newest('driftgauge_window_missing_partition', OF_WINDOW)})\n"
            f"or on (job, namespace, stream, window) 0 * {complete}",
            "missing partitions",
        ),
        Query(newest("driftgauge_window_events_lost", OF_WINDOW), "events lost"),
        axis=Axis("none", decimals=0, most=1),
        look=Look.STEPS,
        overrides=(
            by_name("missing partitions", **line("purple")),
            by_name("events lost", **line("red")),
        ),
    )


def _revisions() -> Panel:
    return bars(
        "Corrections",
        "Growth of driftgauge_window_revisions_total: windows published again, because events or a partition"
        " came late.",
        Query(grown("driftgauge_window_revisions_total", OF_WINDOW, "stream"), "revisions"),
        width=12,
    )


def _late() -> Panel:
    return bars(
        "Late events",
        "Growth of driftgauge_late_events_total: events that came too late to correct a window of this size.",
        Query(grown("driftgauge_late_events_total", OF_WINDOW, "stream"), "late events"),
        width=12,
    )
