"""The drift dashboard, for model owners: whether the inputs of a model moved, where, and since when."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from deploy.generate.grafana.dashboards import (
    DRIFT,
    PAGE_LINK,
    SERVICE,
    drift_url,
    page_variable,
    render,
    variable,
)
from deploy.generate.grafana.fields import VERDICT_TEXTS, Panel, fixed, limit, link
from deploy.generate.grafana.lines import draw
from deploy.generate.grafana.panels import states, value
from deploy.generate.grafana.queries import (
    OF_ITS_STREAM,
    OF_SOURCE,
    OF_STREAM,
    OF_WINDOW,
    by_cluster,
    gauge,
    verdict_code,
)
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import by
from grafana_foundation_sdk.models import common

__all__ = ["dashboard"]

_ALARM: Mapping[float, tuple[str, str]] = {0: ("-", "transparent"), 1: ("alarm", "red")}

# The axis is logarithmic, and smaller p-values make no difference.
_LEAST_P_VALUE = "1e-12"

_LATER = (
    " The panel draws a window from the time of its closing, which is later than the window's start by the"
    " window's length, the allowed disorder and some seconds."
)
_UNSCORED = " The panel has a gap while the newest window is not scored."
_ONE_DEPLOYMENT = (
    " The panel is empty while the variables select several deployments with this stream: select one."
)


@cache
def dashboard() -> dict[str, Any]:
    """Return the drift dashboard."""
    of_size = "For all panels below the first row."
    return render(
        DRIFT,
        "driftgauge: drift",
        "Whether the inputs of a model moved away from their baseline, where, and since when.",
        variables=(
            variable("stream", f"driftgauge_alarm_active{{{OF_SOURCE}}}", of_size),
            variable("window", f"driftgauge_alarm_active{{{OF_STREAM}}}", of_size),
            page_variable(),
        ),
        # An alert without a stream, such as DriftgaugeDown, concerns every stream.
        selector=f'{OF_SOURCE}, stream=~"$stream|"',
        to=("Service", SERVICE),
        # A window may take a day.
        since="now-7d",
        rows={
            "All streams (click one to see it below)": (*_numbers(), _newest_windows(), _verdicts()),
            "$stream, windows of $window": (*_evidence(), _clusters(), _segments()),
        },
    )


def _numbers() -> Sequence[Panel]:
    closed = gauge("driftgauge_window_closed_timestamp_seconds", OF_SOURCE)
    threshold = gauge("driftgauge_window_overdue_threshold_seconds", OF_SOURCE)
    unjudged = f'driftgauge_window_verdict{{{OF_SOURCE}, verdict=~"incomplete|misfit"}} == 1'

    def number(title: str, description: str, windows: str, colour: str) -> Panel:
        streams = f"count(group by ({by('stream')}) (\n{windows}\n))\nor on () vector(0)"
        return value(title, description, streams, unit="none", colours={None: "green", 1: colour}, span=8)

    return (
        number(
            "Streams in drift",
            "Streams with driftgauge_alarm_active of any window size.",
            f"driftgauge_alarm_active{{{OF_SOURCE}}} == 1",
            "red",
        ),
        number(
            "Streams overdue",
            "Streams whose last window closed longer ago than driftgauge_window_overdue_threshold_seconds.",
            f"time() - {closed}\n> {threshold}",
            "orange",
        ),
        number(
            "Streams without a verdict",
            "Streams whose newest window is incomplete, or whose baseline does not fit (misfit), by"
            " driftgauge_window_verdict.",
            unjudged,
            "purple",
        ),
    )


_LABELS = ("cluster", "namespace", "stream", "window")


def _newest_windows() -> Panel:
    cell = link("Show this stream", drift_url("${__data.fields.stream}", "${__data.fields.window}"))
    page = link("Show the page", "${page}?stream=${__data.fields.stream}&window=${__data.fields.window}")

    def newest(name: str) -> str:
        return f"max by ({', '.join(_LABELS)}) ({name}{{{OF_SOURCE}}})"

    return table_of(
        "Newest windows of all streams",
        "The newest closed window of each stream and size. Alarm: driftgauge_alarm_active, the last"
        " conclusive window says drift. Verdict: driftgauge_window_verdict. p-value:"
        " driftgauge_window_p_value. Divergence: driftgauge_window_js_divergence, which without drift is"
        " about driftgauge_window_noise_floor, not 0. Slow drift: driftgauge_window_slow_drift_ratio. Also:"
        " driftgauge_window_events, driftgauge_window_end_timestamp_seconds, and the time since"
        " driftgauge_window_closed_timestamp_seconds. A dash: not scored. The window links to the page.",
        _LABELS,
        {
            "alarm": Column.of_texts(newest("driftgauge_alarm_active"), _ALARM),
            "verdict": Column.of_texts(
                verdict_code("driftgauge_window_verdict", OF_SOURCE, *_LABELS), VERDICT_TEXTS
            ),
            "p-value": Column(newest("driftgauge_window_p_value"), "sci", 1),
            "divergence": Column(newest("driftgauge_window_js_divergence"), decimals=4),
            "noise floor": Column(newest("driftgauge_window_noise_floor"), decimals=4),
            "slow drift": Column(newest("driftgauge_window_slow_drift_ratio"), "percentunit", 0),
            "events": Column(newest("driftgauge_window_events"), "locale", 0),
            "window ended": Column(
                f"1000 * {newest('driftgauge_window_end_timestamp_seconds')}", "dateTimeAsIso"
            ),
            "closed ago": Column(f"time() - {newest('driftgauge_window_closed_timestamp_seconds')}", "s", 0),
        },
        cells={"stream": {"links": [cell.build()]}, "window": {"links": [page.build()]}},
        order=("alarm", True),
    )


def _verdicts() -> Panel:
    verdict = verdict_code("driftgauge_window_verdict", OF_SOURCE, *_LABELS)
    return states(
        "Verdicts other than ok",
        "driftgauge_window_verdict of each stream and size, if it is not ok. drift: two of the last three"
        " windows are significant and large, or a calibrated one is so by far. warning: this window alone is,"
        " or small evidence has added up. insufficient: too few events to be scored. incomplete: partitions"
        " are missing, or the counts are in doubt. misfit: the warm-up differs from the baseline." + _LATER,
        {"{{stream}} {{window}}": f"{verdict}\n> 1"},
        names=VERDICT_TEXTS,
        leads_to=link("Show this stream", drift_url("${__field.labels.stream}", "${__field.labels.window}")),
    )


def _evidence() -> Sequence[Panel]:
    floor = gauge("driftgauge_window_noise_floor", OF_WINDOW)
    large = gauge("driftgauge_excess_threshold", f'{OF_STREAM}, kind="mix"')
    excess = gauge("driftgauge_window_excess", OF_WINDOW)
    of_its_kind = f"on ({by('stream', 'kind')}) group_left ()"
    p_value = gauge("driftgauge_window_p_value", OF_WINDOW)
    return (
        draw(
            "Divergence",
            "driftgauge_window_js_divergence: the Jensen-Shannon divergence, base 2, from 0 to 1, between the"
            " histograms of each window and of the baseline. Without drift it is about the noise floor"
            " (driftgauge_window_noise_floor), not 0. A window is large above the dashed line, which is the"
            " noise floor plus driftgauge_excess_threshold. A click shows the window on the page."
            + _LATER
            + _UNSCORED,
            {
                "divergence": gauge("driftgauge_window_js_divergence", OF_WINDOW),
                "noise floor": floor,
                "large above": f"{floor}\n+ {OF_ITS_STREAM} {large}",
            },
            unit="none",
            span=12,
            steps=True,
            series={
                "divergence": {**fixed("blue"), "custom.lineWidth": 2},
                "noise floor": {**fixed("#8e8e8e"), "custom.fillOpacity": 25},
                "large above": limit(),
            },
            leads_to=PAGE_LINK,
        ),
        draw(
            "p-value",
            "driftgauge_window_p_value: the probability of a window this extreme without drift. A window is"
            " significant below the dashed line, driftgauge_p_value_threshold. The panel draws smaller values"
            " as 1e-12." + _LATER + _UNSCORED,
            {
                "p-value": f"clamp_min({p_value}, {_LEAST_P_VALUE})",
                "significant below": gauge("driftgauge_p_value_threshold", OF_STREAM),
            },
            unit="sci",
            span=12,
            steps=True,
            logarithmic=True,
            series={"p-value": {**fixed("blue"), "custom.lineWidth": 2}, "significant below": limit()},
            leads_to=PAGE_LINK,
        ),
        draw(
            "Size by kind of drift",
            "driftgauge_window_excess over driftgauge_excess_threshold: the size of each kind of drift above"
            " noise. A window is large if one of them is above the dashed line, and drift only if it is"
            " significant too." + _LATER + _UNSCORED,
            {"{{kind}}": f"{excess}\n/ {of_its_kind} {gauge('driftgauge_excess_threshold', OF_STREAM)}"},
            unit="percentunit",
            steps=True,
            line_at=1,
        ),
        draw(
            "Slow drift",
            "driftgauge_window_slow_drift_ratio: a CUSUM of the windows' evidence over its limit. From the"
            " dashed line on the verdict is warning, or drift if it lasts." + _LATER + _UNSCORED,
            {"slow drift": gauge("driftgauge_window_slow_drift_ratio", OF_WINDOW)},
            unit="percentunit",
            steps=True,
            line_at=1,
        ),
        draw(
            "Least detectable drift",
            "driftgauge_window_detectable_ratio: the least drift that 80 % of windows with this event count"
            " find, over the configured smallest drift. Above the dashed line drift worth finding may be"
            " missed." + _LATER + _UNSCORED,
            {"{{kind}}": f"max by (kind) (driftgauge_window_detectable_ratio{{{OF_WINDOW}}})"},
            unit="percentunit",
            steps=True,
            line_at=1,
        ),
        draw(
            "Numbers beside the embeddings",
            "driftgauge_number_mean of the numbers that the stream names, such as a confidence, of each"
            " window, and driftgauge_baseline_number_mean. The page says by what they changed, and where."
            + _LATER,
            {
                name: f"max by (number) ({metric}{{{OF_WINDOW}}})"
                for name, metric in (
                    ("{{number}}", "driftgauge_number_mean"),
                    ("{{number}}, baseline", "driftgauge_baseline_number_mean"),
                )
            },
            unit="none",
            steps=True,
        ),
    )


def _clusters() -> Panel:
    contribution = "driftgauge_window_cluster_contribution"
    of_mix = f'{OF_WINDOW}, kind="mix"'
    size = f"abs({by_cluster(gauge(contribution, of_mix))})"
    ratio = by_cluster(gauge("driftgauge_window_cluster_ratio", OF_WINDOW))
    baseline = by_cluster(gauge("driftgauge_baseline_cluster_ratio", OF_WINDOW))
    cell = common.TableBarGaugeCellOptions(mode=common.BarGaugeDisplayMode.BASIC)
    share = {"min": 0, "max": 1, "custom.cellOptions": cell}
    return table_of(
        "Clusters by contribution",
        f"Each cluster's share of the newest window's divergence (the size of {contribution}), and its share"
        " of the events now (driftgauge_window_cluster_ratio) and in the baseline"
        " (driftgauge_baseline_cluster_ratio). Without drift the contributions are noise." + _ONE_DEPLOYMENT,
        ("cluster_id", "name"),
        {
            "contribution": Column(f"{size}\n/ on () group_left () sum({size})", "percentunit", 0, share),
            "share now": Column(ratio, "percentunit", 1),
            "share in baseline": Column(baseline, "percentunit", 1),
            "change": Column(f"{ratio}\n- {baseline}", "percentunit", 1),
        },
        span=12,
        order=("contribution", True),
    )


def _segments() -> Panel:
    verdict = verdict_code("driftgauge_window_segment_verdict", OF_WINDOW, "segment", "value")
    return table_of(
        "Segments of the newest window",
        "driftgauge_window_segment_verdict: each segment compared with the same segment of the baseline. The"
        " page has their p-values and events.",
        ("segment", "value"),
        {"verdict": Column.of_texts(verdict, VERDICT_TEXTS)},
        span=12,
        order=("verdict", True),
    )
