"""`driftgauge plan`: window lengths for the traffic and the smallest drift worth finding."""

from pathlib import Path

import click

from driftgauge.cli.options import FILE, FiniteNumber, join_options
from driftgauge.cli.printing import json_option, print_report
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics import registry
from driftgauge.statistic_words import WORDS

__all__ = ["plan_command"]


_smallest_options = join_options(
    *(
        click.option(
            f"--smallest-{each.name.replace('_', '-')}",
            each.name,
            type=FiniteNumber(0, each.largest, min_open=True),
            default=each.smallest,
            show_default=True,
            help=f"The smallest drift of {WORDS[each.name].title.lower()} worth finding. "
            f"{WORDS[each.name].smallest}",
        )
        for each in registry.STATISTICS
    )
)


@click.command("plan")
@click.option(
    "--events-per-hour",
    type=FiniteNumber(0, min_open=True),
    required=True,
    help="Events of one stream per hour.",
)
@click.option("--baseline", "baseline_path", type=FILE, help="The file of a fitted baseline.")
@click.option(
    "--clusters", type=click.IntRange(min=2), help="Clusters of a baseline to be fitted.  [default: 20]"
)
@click.option(
    "--components",
    type=click.IntRange(1, MAX_COMPONENTS),
    help="Principal components of a baseline to be fitted.  [default: 32]",
)
@click.option(
    "--baseline-count",
    type=click.IntRange(min=2),
    help="Number of events that a baseline to be fitted counts.  [default: unlimited]",
)
@click.option(
    "--overdispersion",
    type=FiniteNumber(1),
    help="Variance relative to independent events.  [default: that of --baseline, or 1]",
)
@_smallest_options
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
@click.option("--daily-cycle", is_flag=True, help="The traffic differs between day and night.")
@json_option
def plan_command(
    events_per_hour: float,
    baseline_path: Path | None,
    overdispersion: float | None,
    false_pages_per_year: float,
    streams: int,
    *,
    clusters: int | None,
    components: int | None,
    baseline_count: int | None,
    daily_cycle: bool,
    as_json: bool,
    **smallest: float,
) -> None:
    """Compute window length, event count and power for the traffic and the smallest drift worth finding.

    Windows are planned against a fitted baseline, or against one that is yet to be fitted. A fitted one shows
    every kind of drift.
    """
    from driftgauge.baseline.artifact import load
    from driftgauge.recorded.planning import PlanRequest, describe, make_plan, resolve_reference

    planned = {"clusters": clusters, "components": components, "baseline_count": baseline_count}
    if baseline_path is not None and any(planned.values()):
        fault = "--baseline is fitted; leave out --clusters, --components and --baseline-count"
        raise click.UsageError(fault)
    reference = resolve_reference(
        None if baseline_path is None else load(baseline_path), overdispersion=overdispersion, **planned
    )
    request = PlanRequest(
        events_per_hour=events_per_hour,
        smallest=smallest,
        false_pages_per_year=false_pages_per_year,
        streams=streams,
        daily_cycle=daily_cycle,
    )
    print_report(make_plan(request, reference), describe, as_json=as_json)
