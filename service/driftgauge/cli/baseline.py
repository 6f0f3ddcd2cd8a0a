"""`driftgauge baseline`: fit and show frozen baselines."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from driftgauge.baseline.segments import SegmentChoice
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.cli.fit_sources import choose_name, read_source, source_options
from driftgauge.cli.options import FILE, SEGMENT, WINDOW_LENGTH
from driftgauge.cli.printing import (
    counted_refusals,
    json_option,
    message,
    print_blocks,
    print_json,
    print_report,
)
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.files import name_of_stream

__all__ = ["baseline_group"]


@click.group("baseline")
def baseline_group() -> None:
    """Fit and show frozen baselines, the references for drift."""


@baseline_group.command("fit")
@source_options
@click.option(
    "--stream",
    "streams",
    multiple=True,
    required=True,
    help="The stream that the baseline is for.  Repeatable, for a baseline each.",
)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="The file to write; {stream} in its name stands for the stream, with / : @ as %2F %3A %40.",
)
@click.option(
    "--clusters",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Number of k-means clusters.",
)
@click.option(
    "--metric",
    type=click.Choice([metric.value for metric in DistanceMetric]),
    default="euclidean",
    show_default=True,
    help="Distance that assigns a vector to a cluster.",
)
@click.option("--model-version", help="The embedding model's version.")
@click.option(
    "--window",
    "window_ms",
    type=WINDOW_LENGTH,
    default="1h",
    show_default=True,
    help="Window length for measuring bursts of events; use the length of the monitored windows.",
)
@click.option(
    "--segment",
    "segments",
    type=SEGMENT,
    multiple=True,
    help="Also monitor these values of a segment key; all other values count as other.  [default: the most "
    "frequent values of the segments in a topic's mapping]  Repeatable.",
)
@click.option(
    "--group",
    metavar="KEY",
    help="The segment key whose values group related vectors, such as document or user, for vectors "
    "without times.  [default: the part of the ids before the last - _ / : # or .]",
)
@click.option(
    "--mixed-windows",
    is_flag=True,
    help="A window's events come from many groups, a few from each: the groups make the baseline uncertain, "
    "and not the windows.",
)
@click.option(
    "--label",
    metavar="COLUMN",
    help="The column of labels, such as classes: a cluster is named by its most frequent ones. For events, a "
    "segment key or a path in the record's value.",
)
@click.option(
    "--text",
    metavar="COLUMN",
    help="The column of texts, instead of labels: a cluster is named by its characteristic words.",
)
@click.option("--training-set", is_flag=True, help="The vectors come from the model's training data.")
@click.option(
    "--keep-all",
    is_flag=True,
    help="Keep vectors that are zero, repeated or far from all others, where the stream has such vectors all "
    "the time.  [default: up to 1 % are left out and named; more are an error]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers."
)
@json_option
def _fit(
    streams: tuple[str, ...],
    out: Path,
    clusters: int,
    metric: str,
    model_version: str | None,
    window_ms: int,
    segments: tuple[SegmentChoice, ...],
    group: str | None,
    label: str | None,
    text: str | None,
    *,
    mixed_windows: bool,
    training_set: bool,
    keep_all: bool,
    seed: int,
    as_json: bool,
    **source: Any,
) -> None:
    """Fit a baseline on the vectors in INPUT, or on the events of a Kafka topic (--topic).

    INPUT is .npy or .npz, events in .jsonl or .jsonl.gz, Parquet (.parquet) or Arrow (.arrow, .feather,
    .ipc). A topic is read once for each stream, without a consumer group: its records are decoded as the
    service decodes them, and those with an event time of the range are taken.
    """
    # Only this command imports scikit-learn, which is slow to load.
    from driftgauge.baseline.artifact import save
    from driftgauge.baseline.fitting import Provenance, fit_baseline
    from driftgauge.baseline.report import describe, report_baseline
    from driftgauge.baseline.segments import choose_frequent, find_members
    from driftgauge.baseline.windows import Traffic, groups_of_ids, number_groups

    if not out.parent.is_dir():
        fault = f"{out.parent} is not a folder; create it, or choose another path for --out"
        raise InputError(fault)
    files = {
        stream: out.with_name(out.name.replace("{stream}", name_of_stream(stream))) for stream in streams
    }
    if len(set(files.values())) < len(streams):
        fault = f"--out {out}: each stream needs its own file; write {{stream}} into it, and name none twice"
        raise InputError(fault)
    path = source["source"]
    if len(files) > 1 and path is not None and not path.name.endswith((".jsonl", ".jsonl.gz")):
        fault = f"{path} names no streams, and each would be fitted on all of its vectors; give one --stream"
        raise InputError(fault)
    name = choose_name(label, text)
    keys = (*(choice.key for choice in segments), *([] if group is None else [group]))
    reports = []
    for stream, file in files.items():
        if len(files) > 1:
            message(f"stream {stream}, to {file}:")
        wanted = TopicEvents(
            "", stream, model_version=model_version, metric=DistanceMetric(metric), keys=keys, name=name
        )
        warnings: list[str] = []
        with show_progress() as track, counted_refusals() as refusals:
            read = read_source(wanted, track, refusals, **source)
            choices = segments if keys else choose_frequent(read.segments or (), clusters, message)
            baseline = fit_baseline(
                read.vectors,
                stream=stream,
                model_version=model_version or read.model_version,
                clusters=clusters,
                metric=DistanceMetric(metric),
                seed=seed,
                created_ms=SYSTEM_CLOCK.wall_ms(),
                progress=partial(_report, warnings),
                track=track,
                provenance=Provenance(
                    traffic=None if read.times_ms is None else Traffic.of(read.times_ms, window_ms),
                    groups=(
                        groups_of_ids(read.event_ids)
                        if group is None
                        else number_groups(read.segments, group, message)
                    ),
                    mixed_windows=mixed_windows,
                    members=find_members(read.segments, choices),
                    training_set=training_set,
                    labels=read.labels,
                    texts=read.texts,
                    event_ids=read.event_ids,
                ),
                keep_all=keep_all,
            )
        save(baseline, file)
        reports.append(report_baseline(baseline, file, refused=refusals.by_reason(), warnings=warnings))
        if not as_json:
            print_blocks(describe(reports[-1]))
    if as_json:
        print_json(reports if len(reports) > 1 else reports[0])


def _report(warnings: list[str], line: str) -> None:
    """Print a line of a fit, and keep it if it is a warning."""
    message(line)
    if line.startswith("warning: "):
        warnings.append(line.removeprefix("warning: "))


@baseline_group.command("show")
@click.argument("file", type=FILE)
@click.option(
    "--against", type=FILE, help="Another baseline: also show how it differs in identity, mean and histogram."
)
@json_option
def _show(file: Path, against: Path | None, *, as_json: bool) -> None:
    """Verify the baseline in FILE and print its contents."""
    from driftgauge.baseline import report
    from driftgauge.baseline.artifact import load

    baseline = load(file)
    difference = None if against is None else report.compare(baseline, load(against), against)
    print_report(report.report_baseline(baseline, file, difference), report.describe, as_json=as_json)
