"""`driftgauge init`: propose a configuration for a topic."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import click

from driftgauge.cli.options import FILE, read_settings
from driftgauge.cli.printing import message
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.errors import ConfigError, InputError
from driftgauge.events.records import RawRecord
from driftgauge.events.schemas import WaitingSource
from driftgauge.events.timestamps import LAST_MS

__all__ = ["init_command"]

_MOST = 10_000


@click.command("init")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--topic",
    default="embeddings",
    show_default=True,
    help="The topic; in a FILE, of records that name none.",
)
@click.option(
    "--bootstrap-servers",
    default="localhost:9092",
    show_default=True,
    help="The brokers. Other properties come from variables, such as DRIFTGAUGE_KAFKA__SASL_PASSWORD.",
)
@click.option("--registry", metavar="URL", help="The schema registry, for Avro and Protobuf.")
@click.option(
    "--last",
    "number",
    type=click.IntRange(1, _MOST),
    default=100,
    show_default=True,
    help="Number of records to look at, the last by their timestamps.",
)
@click.option(
    "--output",
    type=click.File("x", encoding="utf-8", lazy=True),
    default="-",
    help="Write the configuration into this new file.  [default: standard output]",
)
@click.pass_context
def init_command(
    ctx: click.Context,
    file: Path | None,
    topic: str,
    bootstrap_servers: str,
    registry: str | None,
    number: int,
    output: TextIO,
) -> None:
    """Propose a configuration for a topic, from its last records or a FILE (see config check --sample).

    Says on standard error, and in comments, how many records the proposal reads and what it is not sure of.
    Exits with 1 if it reads none.
    """
    from driftgauge.inspection.describing import describe_gaps, describe_record, describe_summary
    from driftgauge.inspection.draft import write_config
    from driftgauge.inspection.inspector import Inspector
    from driftgauge.inspection.proposal import Proposal, propose
    from driftgauge.kafka.registry_client import connect
    from driftgauge.kafka.schema_registry import SchemaRegistry
    from driftgauge.recorded.record_files import read_sample
    from driftgauge.topics.topic_range import TopicRange

    clients = bootstrap_servers, registry
    settings = _load(write_config(topic, Proposal([topic]), (), *clients))
    if file is None:
        with TopicRange(settings.kafka, topic, 0, LAST_MS) as span:
            found: Sequence[RawRecord] = span.read_last(number)
            held: int | None = span.offsets
    else:
        found, held = read_sample(file, topic, SYSTEM_CLOCK.wall_ms())[-number:], None
    if not found:
        fault = f"{file or topic} has no records; write some first"
        raise InputError(fault)
    topic = found[-1].topic() or topic
    records = [record for record in found if record.topic() == topic]
    with ExitStack() as running:
        schemas = None
        if settings.schema_registry:
            client = running.enter_context(connect(settings.schema_registry))
            found_in = running.enter_context(SchemaRegistry(client, SYSTEM_CLOCK))
            schemas = WaitingSource(found_in, SYSTEM_CLOCK)
        proposal = propose(topic, records, schemas)
        inspector = Inspector(_load(write_config(topic, proposal, (), *clients)), schemas)
        inspected = [inspector.inspect(record, SYSTEM_CLOCK.wall_ms()) for record in records]
    summary = str(describe_summary(inspected, inspector.problems, held)[-1])
    refused = [f"the first refused: {describe_record(each)[0]}" for each in inspected if each.rejection]
    notes = [
        summary,
        *refused[:1],
        *proposal.notes,
        *(f"timestamp: {gap}" for gap in describe_gaps(inspected)),
    ]
    output.write(write_config(topic, proposal, notes, *clients))
    for note in notes:
        message(note)
    ctx.exit(0 if any(each.events for each in inspected) else 1)


def _load(text: str) -> Settings:
    """Return the settings of a configuration that is written for this run only."""
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "driftgauge.yaml"
        draft.write_text(text, encoding="utf-8")
        try:
            return read_settings(draft)
        except ConfigError as error:
            # The draft's path would mislead.
            fault = "the options and the variables DRIFTGAUGE_… do not connect; correct:"
            raise ConfigError(fault, error.problems) from None
