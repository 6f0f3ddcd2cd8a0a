"""The sources of `driftgauge baseline fit`: a file, or a range of a Kafka topic."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from driftgauge.baseline.collecting import NameColumn, TableColumns, VectorSet
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.cli.options import (
    FILE,
    RECORDED,
    array_option,
    join_options,
    open_schemas,
    range_options,
    read_range,
    read_settings,
)
from driftgauge.cli.printing import message
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import VectorFormat
from driftgauge.progress import Track
from driftgauge.record_files import choose_topic

__all__ = ["choose_name", "read_source", "source_options"]

source_options = join_options(
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
    click.option("--id-column", help="The column of event ids, of which each cluster keeps examples."),
)


def choose_name(label: str | None, text: str | None) -> NameColumn | None:
    """Return the column that clusters are named by.

    Raises:
        InputError: Both columns are given.
    """
    if label is not None and text is not None:
        fault = "--label and --text both name clusters; give one of them"
        raise InputError(fault)
    column = label if text is None else text
    return None if column is None else NameColumn(column, holds_texts=text is not None)


def read_source(
    wanted: TopicEvents,
    track: Track,
    refusals: Refusals,
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
    id_column: str | None,
) -> VectorSet:
    """Return the vectors of the source that the options name; report progress and refused events.

    Raises:
        InputError: The options name no source or two, or the source cannot be used.
    """
    name = wanted.name
    if topic is not None or config_path is not None:
        # Options with a default are not seen here; alone they change nothing.
        if array or vector_column or time_column or id_column:
            fault = "--array and the options of columns are not for a topic's records, which have a mapping"
            raise InputError(fault)
        if config_path is None:
            fault = "--topic needs --config, the configuration file, and --from where there is no INPUT"
            raise InputError(fault)
        span = read_range(from_ms, until_ms) if source is None else (0, LAST_MS + 1)
        settings = read_settings(config_path, connects=source is None)
        topic = choose_topic(settings, topic)
        wanted = replace(wanted, topic=topic, from_ms=span[0], until_ms=span[1], slack_ms=slack_ms)
        read = _read_records(settings, wanted, source, track, refusals)
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
            columns=TableColumns(vector_column, number, time_column, time_unit, keys, name, id_column),
        )
    if name is not None and not (any(read.labels or ()) or read.texts):
        kind = "text" if name.holds_texts else "label"
        fault = (
            f"no vector has a {kind} {name.column!r}; name a column with values, or for events a segment key "
            f"or a path in the record's value, or leave out {name.option}"
        )
        raise InputError(fault)
    return read


def _read_records(
    settings: Settings, wanted: TopicEvents, source: Path | None, track: Track, refusals: Refusals
) -> VectorSet:
    """Return the vectors of a topic's records: those in a file, or those of the topic in a range.

    The topic is read once, without a group and without commits, to its end at the start of the run.
    """
    from driftgauge.baseline.event_range import read_events, select_events
    from driftgauge.events.inputs import build_reader
    from driftgauge.report.topic_range import TopicRange

    inputs = settings.inputs_of(wanted.topic)
    mapped = [key for mapping in inputs.values() for key in mapping.segments]
    wanted = replace(wanted, keys=wanted.keys or mapped)
    with open_schemas(settings, inputs.values()) as schemas:
        reader = build_reader(wanted.topic, inputs, schemas)
        if source is not None:
            return read_events(source, wanted, reader, track, refusals)
        first_ms, end_ms = wanted.from_ms - wanted.slack_ms, wanted.until_ms + wanted.slack_ms
        with TopicRange(settings.kafka, wanted.topic, first_ms, end_ms, track) as records:
            partitions = f"{len(records.ranges)} partitions of {wanted.topic}"
            message(f"reading about {records.offsets:,} offsets of {partitions}")
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
    selection.report(message)
    return selection.finish(f"topic {wanted.topic}")
