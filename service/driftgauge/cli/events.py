"""`driftgauge events`: look at the records of an events topic."""

from pathlib import Path

import click

from driftgauge.cli.inspection import inspect
from driftgauge.cli.options import config_option, read_settings
from driftgauge.cli.printing import json_option
from driftgauge.events.timestamps import LAST_MS
from driftgauge.record_files import choose_topic
from driftgauge.report.topic_range import TopicRange

__all__ = ["events_group"]

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
def _peek(config_path: Path, topic: str, number: int, *, as_json: bool) -> None:
    """Show field by field what the service makes of a topic's last records.

    Joins no group, commits nothing, and needs no baseline: without one, dimension and model version are not
    checked.
    """
    settings = read_settings(config_path)
    with TopicRange(settings.kafka, choose_topic(settings, topic), 0, LAST_MS) as span:
        records = span.read_last(number)
    inspect(settings, records, as_json=as_json)
