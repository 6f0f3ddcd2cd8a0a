"""`driftgauge marks`: say what happened, so that the page and Grafana show it beside the windows."""

from pathlib import Path

import click
from pydantic import ValidationError

from driftgauge.cli.options import TIME, config_option, read_settings
from driftgauge.cli.printing import message
from driftgauge.cli.publish import send
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import InputError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.topics import create_missing_topics, replication_factor
from driftgauge.nearest import suggest
from driftgauge.records.mark import AHEAD_MS, Mark

__all__ = ["marks_group"]


@click.group("marks")
def marks_group() -> None:
    """Say what happened, so that the page and Grafana show it beside the windows."""


@marks_group.command("add")
@config_option
@click.option("--text", required=True, help="What happened, such as: model v2 is live.")
@click.option("--stream", help="The stream that it concerns.  [default: all]")
@click.option("--at", "at_ms", type=TIME, help="When it happened, RFC 3339.  [default: now]")
@click.option("--link", help="Where more is said about it, an http or https URL.")
def _add(config_path: Path, text: str, stream: str | None, at_ms: int | None, link: str | None) -> None:
    """Add a deployment mark.

    The topic of marks is created if it is missing.
    """
    settings = read_settings(config_path)
    try:
        mark = Mark(
            time=SYSTEM_CLOCK.wall_ms() if at_ms is None else at_ms, text=text, stream=stream, link=link
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        fault_text = f"--{fault['loc'][0]}: {fault['msg']}; correct it"
        raise InputError(fault_text) from None
    if mark.time > SYSTEM_CLOCK.wall_ms() + AHEAD_MS:
        fault_text = f"--at: {format_timestamp(mark.time)} lies more than a day ahead; correct it"
        raise InputError(fault_text)
    if stream is not None and stream not in settings.by_stream:
        remedy = suggest(stream, settings.by_stream.names, "correct the name")
        fault_text = f"--stream: {stream} is not in the configuration; {remedy}"
        raise InputError(fault_text)
    names, admin = settings.topics, client.admin(settings.kafka)
    create_missing_topics(
        admin, [names.marks], replication_factor(admin, names.events, names.replication_factor)
    )
    send(client.producer(settings.kafka), names.marks, [(stream, mark.model_dump_json().encode())])
    message(f"marked {format_timestamp(mark.time)} for {stream or 'all streams'}: {text}")
