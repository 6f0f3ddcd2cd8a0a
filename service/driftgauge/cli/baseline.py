"""`driftgauge baseline`: fit and show frozen baselines."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from driftgauge.baseline.collecting import NameColumn, TableColumns, VectorSet
from driftgauge.baseline.segments import SegmentChoice
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.cli.options import (
    FILE,
    NUMBER,
    RECORDED,
    SEGMENT,
    WINDOW_LENGTH,
    array_option,
    join_options,
    open_schemas,
    range_options,
    read_range,
    read_settings,
)
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
from driftgauge.config import Settings, StreamSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.numbers import Number
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.events.vectors import VectorFormat
from driftgauge.files import name_of_stream
from driftgauge.nearest import suggest
from driftgauge.progress import Track
from driftgauge.recorded.record_files import choose_topic

if TYPE_CHECKING:
    from driftgauge.topics.topic_range import TopicRange

__all__ = ["baseline_group"]

_source_options = join_options(
    click.argument("source", metavar="[INPUT]", type=RECORDED, required=False),
    array_option,
    click.option(
        "--topic",
        help="The topic whose records INPUT holds; without INPUT this topic is read. Needs --config.",
    ),
    click.option(
        "--config",
        "config_path",
        type=FILE,
        help="The YAML configuration file, for --topic.",
    ),
    range_options,
    click.option(
        "--vector-column", help="The vectors' column.  [default: the only one of float lists or bytes]"
    ),
    click.option(
        "--vector-dtype",
        type=click.Choice(["f32", "f16", "bf16", "f64"]),
        default="f32",
        show_default=True,
        help="The type of numbers in a column of bytes, little-endian.",
    ),
    click.option("--time-column", help="The column of event times; without it, there are none."),
    click.option(
        "--time-unit",
        type=click.Choice(["s", "ms", "us", "ns"]),
        default="ms",
        show_default=True,
        help="The unit of event times that are whole numbers.",
    ),
    click.option(
        "--assume-utc",
        is_flag=True,
        help="Event times of a column without an offset are in UTC.  [default: they are refused]",
    ),
    click.option("--id-column", help="The column of event ids, of which each cluster keeps examples."),
)


@click.group("baseline")
def baseline_group() -> None:
    """Fit and show frozen baselines, the references for drift."""


@baseline_group.command("fit")
@_source_options
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
    help="A window's events come from many groups, a few from each: the groups make an offset that all "
    "windows share.",
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
    help="The column of texts, instead of labels: a cluster is named by its characteristic words, and"
    " near-duplicates are found.",
)
@click.option(
    "--keep-texts",
    "text_bytes",
    type=click.IntRange(min=1, max=256),
    metavar="BYTES",
    help="Keep the beginnings of the examples' texts, of --text, in the file: the page shows them beside "
    "those of a drift.  [default: no text is kept]",
)
@click.option(
    "--number",
    "numbers",
    type=NUMBER,
    multiple=True,
    help="Count this number beside the vectors, such as correct or score=1:5: a column, or a number of the "
    "events. Its range need not be the stream's.  Repeatable.  [default range: 0:1]",
)
@click.option("--training-set", is_flag=True, help="The vectors come from the model's training data.")
@click.option(
    "--keep-all",
    is_flag=True,
    help="Keep vectors that are zero, repeated or far from all others, if the stream has such vectors all "
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
    text_bytes: int | None,
    numbers: tuple[Number, ...],
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
    service decodes them, and those with an event time of the range are taken. A .npz or Parquet file may hold
    vectors of 100 times its size, and of 256 MiB in any case.
    """
    # Only this command imports scikit-learn, which is slow to load.
    from driftgauge.baseline.artifact import save
    from driftgauge.baseline.fit_report import describe, report_baseline
    from driftgauge.baseline.fitting import Provenance, fit_baseline
    from driftgauge.baseline.groups import groups_of_ids, number_groups
    from driftgauge.baseline.segments import choose_frequent, find_members
    from driftgauge.baseline.windows import Traffic

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
    name = _choose_name(label, text)
    if text_bytes and text is None:
        fault = "--keep-texts keeps texts of the column of --text; name the column"
        raise InputError(fault)
    keys = (*(choice.key for choice in segments), *([] if group is None else [group]))
    reports = []
    for stream, file in files.items():
        if len(files) > 1:
            message(f"stream {stream}, to {file}:")
        wanted = TopicEvents(
            "",
            stream,
            model_version=model_version,
            metric=DistanceMetric(metric),
            keys=keys,
            name=name,
            numbers=tuple(number.name for number in numbers),
        )
        warnings: list[str] = []
        with show_progress() as track, counted_refusals() as refusals:
            report = partial(_report, warnings)
            read = _read_source(wanted, track, refusals, report, **source)
            if text_bytes and not (read.event_ids and read.texts):
                fault = (
                    f"--keep-texts keeps texts of events with an id, and no event of {stream} has "
                    f"{'a text' if read.event_ids else 'an id'}; name their column, or leave the option out"
                )
                raise InputError(fault)
            choices = segments if keys else choose_frequent(read.segments or (), clusters, message)
            baseline = fit_baseline(
                read.vectors,
                stream=stream,
                model_version=model_version or read.model_version,
                clusters=clusters,
                metric=DistanceMetric(metric),
                seed=seed,
                created_ms=SYSTEM_CLOCK.wall_ms(),
                progress=report,
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
                    text_bytes=text_bytes or 0,
                    numbers={number: read.numbers[number.name] for number in numbers},
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


def _choose_name(label: str | None, text: str | None) -> NameColumn | None:
    """Return the column that clusters are named by.

    Raises:
        InputError: Both columns are given, or a path into the items of a list.
    """
    if label is not None and text is not None:
        fault = "--label and --text both name clusters; give one of them"
        raise InputError(fault)
    column = label if text is None else text
    if column is not None and "[*]" in column:
        fault = (
            f"{column!r} names a field of each item of a list; read it as a segment of the mapping, as "
            f"in segments: {{name: '{column}'}}, and give the segment's key instead"
        )
        raise InputError(fault)
    return None if column is None else NameColumn(column, holds_texts=text is not None)


def _read_source(
    wanted: TopicEvents,
    track: Track,
    refusals: Refusals,
    report: Callable[[str], None],
    *,
    source: Path | None,
    array: str | None,
    topic: str | None,
    config_path: Path | None,
    from_ms: int | None,
    until_ms: int | None,
    slack_ms: int,
    vector_column: str | None,
    vector_dtype: Literal["f32", "f16", "bf16", "f64"],
    time_column: str | None,
    time_unit: Literal["s", "ms", "us", "ns"],
    assume_utc: bool,
    id_column: str | None,
) -> VectorSet:
    """Return the vectors of the source that the options name; report progress and refused events.

    Raises:
        InputError: The options name no source or two, or the source cannot be used.
    """
    name = wanted.name
    if topic is not None or config_path is not None:
        # Options with a default are not seen here; alone they change nothing.
        if array or vector_column or time_column or assume_utc or id_column:
            fault = "--array and the options of columns are not for a topic's records, which have a mapping"
            raise InputError(fault)
        if config_path is None:
            fault = "--topic needs --config, the configuration file, and --from if there is no INPUT"
            raise InputError(fault)
        span = read_range(from_ms, until_ms) if source is None else (0, LAST_MS + 1)
        settings = read_settings(config_path, connects=source is None)
        topic = choose_topic(settings, topic)
        wanted = replace(wanted, topic=topic, from_ms=span[0], until_ms=span[1], slack_ms=slack_ms)
        read = _read_records(settings, wanted, source, track, refusals, report)
    elif source is None:
        fault = "name INPUT, a file, or --topic with --config and --from"
        raise InputError(fault)
    elif from_ms is not None or until_ms is not None:
        fault = "--from and --until belong to --topic without INPUT; leave them out"
        raise InputError(fault)
    else:
        from driftgauge.baseline.vectors import read_vectors

        number, keys = VectorFormat(vector_dtype), tuple(wanted.keys or ())
        read = read_vectors(
            source,
            array=array,
            stream=wanted.stream,
            model_version=wanted.model_version,
            refusals=refusals,
            track=track,
            keys=keys,
            columns=TableColumns(
                vector_column,
                number,
                time_column,
                time_unit,
                assume_utc,
                keys,
                name,
                id_column,
                wanted.numbers,
            ),
        )
    if name is not None and not any(read.labels or read.texts or ()):
        kind = "text" if name.holds_texts else "label"
        fault = (
            f"no vector has a {kind} {name.column!r}; name a column with values, or for events a segment key "
            f"or a path in the record's value, or leave out {name.option}"
        )
        raise InputError(fault)
    return read


def _read_records(
    settings: Settings,
    wanted: TopicEvents,
    source: Path | None,
    track: Track,
    refusals: Refusals,
    report: Callable[[str], None],
) -> VectorSet:
    """Return the vectors of a topic's records: those in a file, or those of the topic in a range.

    The topic is read once, without a group and without commits, to its end at the start of the run.
    """
    from driftgauge.baseline.event_range import read_events, select_events
    from driftgauge.events.mapped_readers import build_reader
    from driftgauge.topics.topic_range import TopicRange

    inputs = settings.inputs_of(wanted.topic)
    mapped = [key for mapping in inputs.values() for key in mapping.segments]
    wanted = replace(wanted, keys=wanted.keys or mapped)
    with open_schemas(settings, inputs.values()) as schemas:
        reader = build_reader(wanted.topic, inputs, schemas)
        if source is not None:
            selection = read_events(source, wanted, reader, track, refusals)
            selection.warn(report)
            return selection.finish(str(source))
        first_ms, end_ms = wanted.from_ms - wanted.slack_ms, wanted.until_ms + wanted.slack_ms
        with TopicRange(settings.kafka, wanted.topic, first_ms, end_ms, track) as records:
            partitions = f"{len(records.ranges)} partitions of {wanted.topic}"
            report(f"reading about {records.offsets:,} offsets of {partitions}")
            selection = select_events(
                records,
                wanted,
                reader,
                refusals,
                lead_ms=settings.allowed_lead,
                age_ms=settings.allowed_age,
                largest_bytes=settings.largest_record,
                clock=SYSTEM_CLOCK,
            )
            selection.report(report)
            if cut := records.describe_cut(wanted.from_ms):
                report(f"warning: {cut}")
            stream = settings.by_stream.get(wanted.stream)
            if stream is not None and (said := _describe_warm_up(stream, records)):
                report(f"warning: {said}")
    selection.warn(report)
    return selection.finish(f"topic {wanted.topic}")


def _describe_warm_up(stream: StreamSettings, records: "TopicRange") -> str | None:
    """Return a sentence if the topic holds no record from the time of a stream's warm-up, which is over."""
    warm_up = stream.warm_up
    if warm_up is None or warm_up.end > SYSTEM_CLOCK.wall_ms() or records.holds(warm_up.start, warm_up.end):
        return None
    span = f"{format_timestamp(warm_up.start)} to {format_timestamp(warm_up.end)}"
    return (
        f"topic {records.topic} holds no record from the warm_up of stream {stream.key}, {span}: the warm_up "
        "measures nothing, unless events of its time are recorded later; choose a time with events"
    )


@baseline_group.command("show")
@click.argument("file", type=FILE)
@click.option(
    "--against", type=FILE, help="Another baseline: also show how it differs in identity, mean and histogram."
)
@click.option(
    "--config",
    "config_path",
    type=FILE,
    help="The YAML configuration file: what --against calls large follows from smallest_drift of the stream.",
)
@json_option
def _show(file: Path, against: Path | None, config_path: Path | None, *, as_json: bool) -> None:
    """Verify the baseline in FILE and print its contents."""
    from driftgauge.baseline import fit_report as report
    from driftgauge.baseline.artifact import load

    baseline = load(file)
    smallest = {} if config_path is None else {"smallest": _smallest(config_path, baseline.metadata.stream)}
    difference = None if against is None else report.compare(baseline, load(against), against, **smallest)
    print_report(report.report_baseline(baseline, file, difference), report.describe, as_json=as_json)


def _smallest(path: Path, stream: str) -> dict[str, float]:
    """Return the smallest drift worth finding of a stream, by the statistic's name.

    Raises:
        InputError: The configuration does not name the stream.
    """
    by_stream = read_settings(path, connects=False).by_stream
    if stream not in by_stream:
        remedy = suggest(stream, by_stream.names, "leave out --config")
        fault = f"{path} does not name the stream {stream} of the baseline; {remedy}"
        raise InputError(fault)
    sizes: dict[str, float] = by_stream[stream].smallest_drift.model_dump()
    return sizes
