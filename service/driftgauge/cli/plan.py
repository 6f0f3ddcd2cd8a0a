"""`driftgauge plan`: window lengths for the traffic and the smallest drift worth finding."""

from pathlib import Path

import click

from driftgauge.cli.options import FILE, FiniteNumber
from driftgauge.cli.printing import json_option, print_report
from driftgauge.core.counting.projection import MAX_COMPONENTS

__all__ = ["plan_command"]


@click.command("plan")
@click.option(
    "--events-per-hour",
    type=FiniteNumber(0, min_open=True),
    required=True,
    help="Events of one stream per hour.",
)
@click.option(
    "--clusters",
    type=click.IntRange(min=2),
    help="Clusters of the baseline.  [default: those of --baseline, or 20]",
)
@click.option(
    "--components",
    type=click.IntRange(1, MAX_COMPONENTS),
    help="Principal components of the baseline.  [default: those of --baseline, or 32]",
)
@click.option(
    "--smallest-divergence",
    type=FiniteNumber(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="The smallest Jensen-Shannon divergence worth finding.",
)
@click.option(
    "--smallest-shift",
    type=FiniteNumber(0, min_open=True),
    default=0.05,
    show_default=True,
    help="The smallest mean shift worth finding, as a squared Mahalanobis length.",
)
@click.option(
    "--false-pages-per-year",
    type=FiniteNumber(0, min_open=True),
    default=1.0,
    show_default=True,
    help="The alarm budget of all streams.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of streams that share the alarm budget.",
)
@click.option(
    "--baseline", "baseline_path", type=FILE, help="A fitted baseline file, whose figures are the defaults."
)
@click.option(
    "--baseline-count", type=click.IntRange(min=1), help="Number of events that the baseline counts."
)
@click.option(
    "--overdispersion",
    type=FiniteNumber(1),
    help="Variance relative to independent events. The default is the baseline's.",
)
@click.option("--daily-cycle", is_flag=True, help="The traffic differs between day and night.")
@json_option
def plan_command(
    events_per_hour: float,
    clusters: int | None,
    components: int | None,
    smallest_divergence: float,
    smallest_shift: float,
    false_pages_per_year: float,
    streams: int,
    baseline_path: Path | None,
    baseline_count: int | None,
    overdispersion: float | None,
    *,
    daily_cycle: bool,
    as_json: bool,
) -> None:
    """Compute window length, event count and power for the traffic and the smallest drift worth finding."""
    from driftgauge.baseline.artifact import load
    from driftgauge.planning import PlanRequest, describe, make_plan, resolve_sensitivity

    plan = make_plan(
        PlanRequest(
            events_per_hour=events_per_hour,
            sensitivity=resolve_sensitivity(
                load(baseline_path) if baseline_path else None,
                clusters=clusters,
                components=components,
                baseline_count=baseline_count,
                overdispersion=overdispersion,
            ),
            js_divergence=smallest_divergence,
            mean_shift=smallest_shift,
            false_pages_per_year=false_pages_per_year,
            streams=streams,
            daily_cycle=daily_cycle,
        )
    )
    print_report(plan, describe, as_json=as_json)
