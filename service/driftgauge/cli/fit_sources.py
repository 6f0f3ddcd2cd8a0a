"""The sources of `driftgauge baseline fit`: a file, or a range of a Kafka topic."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from driftgauge.baseline.collecting import NameColumn, TableColumns, VectorSet
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.cli.options import FILE, RECORDED, array_option, range_options, read_range, read_settings
from driftgauge.cli.printing import message
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import VectorFormat
from driftgauge.progress import Track
from driftgauge.record_files import choose_topic

__all__ = ["Selection", "choose_name", "read_source", "source_options"]

_OPTIONS = (
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


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of a source to read.

    Attributes:
        stream: The stream.
        model_version: The version; None reads the only one.
        metric: The metric of the baseline.
        keys: The keys of the segments.
        name: The column of labels or texts; None without one.
    """

    stream: str
    model_version: str | None
    metric: DistanceMetric
    keys: tuple[str, ...]
    name: NameColumn | None


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


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and options that name a source."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_source(
    selection: Selection,
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
    if source is None and topic is None:
        fault = "name INPUT, a file, or --topic with --config and --from"
        raise InputError(fault)
    if topic is not None or config_path is not None:
        # Options with a default are not seen here; alone they change nothing.
        if array or vector_column or time_column or id_column:
            fault = "--array and the options of columns are not for a topic's records, which have a mapping"
            raise InputError(fault)
        if config_path is None:
            fault = "--topic needs --config, the configuration file, and --from where there is no INPUT"
            raise InputError(fault)
        read = _read_records(
            selection, source, topic, config_path, from_ms, until_ms, slack_ms, track, refusals
        )
        return _require_names(read, selection.name)
    if from_ms is not None or until_ms is not None:
        fault = "--from and --until belong to --topic without INPUT; leave them out"
        raise InputError(fault)
    assert source is not None  # noqa: S101 - checked above
    from driftgauge.baseline.vectors import read_vectors

    columns = TableColumns(
        vector_column,
        VectorFormat(vector_dtype),
        time_column,
        time_unit,
        selection.keys,
        selection.name,
        id_column,
    )
    read = read_vectors(
        source,
        array=array,
        stream=selection.stream,
        model_version=selection.model_version,
        refusals=refusals,
        track=track,
        keys=selection.keys,
        columns=columns,
    )
    return _require_names(read, selection.name)


def _read_records(
    selection: Selection,
    source: Path | None,
    topic: str | None,
    config_path: Path,
    from_ms: int | None,
    until_ms: int | None,
    slack_ms: int,
    track: Track,
    refusals: Refusals,
) -> VectorSet:
    """Return the vectors of a topic's records: those in a file, or those of the topic in a range."""
    from driftgauge.baseline.event_range import read_events
    from driftgauge.cli.topic_vectors import read_topic
    from driftgauge.events.inputs import build_reader
    from driftgauge.kafka.schema_registry import open_schema_registry

    span = read_range(from_ms, until_ms) if source is None else (0, LAST_MS + 1)
    settings = read_settings(config_path, connects=source is None)
    if topic is None or source is not None:
        topic = choose_topic(settings, topic)
    mapping = settings.inputs.get(topic)
    wanted = TopicEvents(
        topic,
        selection.stream,
        *span,
        slack_ms,
        selection.model_version,
        selection.metric,
        selection.keys or (() if mapping is None else tuple(mapping.segments)),
        selection.name,
    )
    if source is None:
        return read_topic(settings, wanted, SYSTEM_CLOCK, message, track=track, refusals=refusals)
    inputs = {name: each for name, each in settings.inputs.items() if name == topic}
    with open_schema_registry(settings, inputs.values(), SYSTEM_CLOCK) as schemas:
        return read_events(source, wanted, build_reader(topic, inputs, schemas), track, refusals)


def _require_names(read: VectorSet, name: NameColumn | None) -> VectorSet:
    """Return the vectors of a source if any has a label or text.

    Raises:
        InputError: None has one.
    """
    if name is not None and not (any(read.labels or ()) or read.texts):
        kind = "text" if name.holds_texts else "label"
        fault = (
            f"no vector has a {kind} {name.column!r}; name a column with values, or for events a segment key "
            f"or a path in the record's value, or leave out {name.option}"
        )
        raise InputError(fault)
    return read
