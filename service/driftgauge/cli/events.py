"""`driftgauge events`: look at the records of an events topic."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftgauge.cli.options import config_option, open_schemas, read_settings
from driftgauge.cli.printing import json_option, print_report
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.events.records import RawRecord
from driftgauge.events.timestamps import LAST_MS
from driftgauge.recorded.record_files import choose_topic
from driftgauge.topics.topic_range import TopicRange

if TYPE_CHECKING:
    from driftgauge.inspection.inspector import InspectedRecord

__all__ = ["events_group", "inspect"]

# More records than an operator reads, and little memory.
_MOST = 10_000


@click.group("events")
def events_group() -> None:
    """Look at the records of an events topic."""


@events_group.command("peek")
@config_option
@click.option("--topic", required=True, help="The topic, one of topics.events.")
@click.option(
    "--last",
    "number",
    type=click.IntRange(1, _MOST),
    default=10,
    show_default=True,
    help="Number of records, the last by their timestamps.",
)
@json_option
@click.pass_context
def _peek(ctx: click.Context, config_path: Path, topic: str, number: int, *, as_json: bool) -> None:
    """Show field by field what the service makes of a topic's last records.

    Joins no group, commits nothing, and needs no baseline: without one, dimension and model version are not
    checked. Exits with 1 if records are refused and none is accepted.
    """
    settings = read_settings(config_path)
    with TopicRange(settings.kafka, choose_topic(settings, topic), 0, LAST_MS) as span:
        records = span.read_last(number)
    inspected = inspect(settings, records, span.offsets, as_json=as_json)
    is_of_use = any(each.events for each in inspected)
    ctx.exit(0 if is_of_use or all(each.rejection is None for each in inspected) else 1)


def inspect(
    settings: Settings, records: Sequence[RawRecord], held: int | None = None, *, as_json: bool
) -> "Sequence[InspectedRecord]":
    """Print what the service makes of records, and return it.

    Args:
        settings: The configuration.
        records: The records, each read as its topic is.
        held: As for `describe_summary`.
        as_json: Print one JSON object.

    Raises:
        ConfigError: A record's topic is none of the events topics, or it names none and they differ.
        BrokerError: The schema registry does not answer.
    """
    from driftgauge.inspection import describing
    from driftgauge.inspection.inspector import Inspector

    for topic in {record.topic() for record in records}:
        choose_topic(settings, topic or None)
    with open_schemas(settings, settings.inputs.values()) as schemas:
        inspector = Inspector(settings, schemas)
        inspected = [inspector.inspect(record, SYSTEM_CLOCK.wall_ms()) for record in records]
    blocks = [block for each in inspected for block in describing.describe_record(each)]
    blocks += describing.describe_summary(inspected, inspector.problems, held)
    print_report(describing.as_json(inspected, inspector.problems, held), lambda _: blocks, as_json=as_json)
    return inspected
