"""Command line interface: each command parses options and calls the module that does the work."""

import sys

import click

from driftgauge.cli.baseline import baseline_group
from driftgauge.cli.events import events_group
from driftgauge.cli.kafka import kafka_group
from driftgauge.cli.plan import plan_command
from driftgauge.cli.publish import publish_command
from driftgauge.cli.recorded import backtest_command, replay_command
from driftgauge.cli.service import config_group, health_command, serve_command
from driftgauge.errors import DriftgaugeError

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command line; an expected error is one message and its exit status, without a traceback."""
    try:
        cli(prog_name="driftgauge")
    except DriftgaugeError as error:
        click.echo(f"driftgauge: {error}", err=True)
        sys.exit(error.exit_code)


@click.group()
@click.version_option(package_name="driftgauge")
def cli() -> None:
    """Watch embedding drift in real time: from a Kafka topic to a Prometheus gauge."""


for command in (
    serve_command,
    config_group,
    events_group,
    baseline_group,
    replay_command,
    backtest_command,
    publish_command,
    plan_command,
    health_command,
    kafka_group,
):
    cli.add_command(command)
