"""Command line interface: each command parses options and calls the module that does the work."""

import sys
from importlib import import_module
from typing import Final

import click

from driftgauge.errors import DriftgaugeError

__all__ = ["cli", "main"]

_COMMANDS: Final = {
    "serve": "service:serve_command",
    "page": "service:page_command",
    "config": "service:config_group",
    "events": "events:events_group",
    "baseline": "baseline:baseline_group",
    "replay": "recorded:replay_command",
    "report": "report:report_command",
    "backtest": "recorded:backtest_command",
    "publish": "publish:publish_command",
    "plan": "plan:plan_command",
    "health": "health:health_command",
    "kafka": "kafka:kafka_group",
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: all of them take seconds of a processor."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"driftgauge.cli.{module}"), name)
        return command


def main() -> None:
    """Run the command line; an expected error is one message and its exit status, without a traceback."""
    try:
        cli(prog_name="driftgauge")
    except DriftgaugeError as error:
        click.echo(f"driftgauge: {error}", err=True)
        sys.exit(error.exit_code)


@click.group(cls=_LazyGroup)
@click.version_option(package_name="driftgauge")
def cli() -> None:
    """Watch embedding drift in real time: from a Kafka topic to a Prometheus gauge."""
