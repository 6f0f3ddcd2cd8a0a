"""Command line interface: each command parses options and calls the module that does the work."""

import faulthandler
import logging
import sys
from importlib import import_module
from io import StringIO
from typing import Final

import click
from click.shell_completion import CompletionItem

from driftgauge.errors import DriftgaugeError

__all__ = ["cli", "main"]

_COMMANDS: Final = {
    "serve": "service:serve_command",
    "page": "service:page_command",
    "config": "config_check:config_group",
    "marks": "marks:marks_group",
    "accept-loss": "accept_loss:accept_loss_command",
    "dead-letters": "dead_letters:dead_letters_group",
    "events": "events:events_group",
    "init": "init:init_command",
    "baseline": "baseline:baseline_group",
    "replay": "recorded:replay_command",
    "report": "report:report_command",
    "backtest": "recorded:backtest_command",
    "publish": "publish:publish_command",
    "plan": "plan:plan_command",
    "status": "status:status_command",
    "health": "health:health_command",
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: all of them take seconds of a processor."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return names alone: the commands' help would import them all, which a user waits for."""
        names = [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"driftgauge.cli.{module}"), name)
        return command


_STANDARD_ERROR: Final = 2
# As shells report a program that SIGINT ended.
_INTERRUPTED: Final = 130

_EXIT_STATUS: Final = """\b
Exit status:
  0    The work is done; health: healthy.
  1    Kafka or another part of the environment failed, or the answer is no:
       not healthy, a sample refused.
  2    The command line, the configuration or a file cannot be used.
  130  Interrupted by Ctrl-C.
"""


def main() -> None:
    """Run the command line; an expected error is one message and its exit status, without a traceback."""
    from driftgauge.cli.command_log import CommandLog

    # A crash in native code says on standard error where it was.
    if not faulthandler.is_enabled():
        faulthandler.enable(_STANDARD_ERROR)
    log = CommandLog()
    logging.getLogger().addHandler(log)
    try:
        # Otherwise click gives an interrupt the status of a failure.
        status = cli(prog_name="driftgauge", standalone_mode=False)
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        _report(shown.getvalue().rstrip())
        sys.exit(error.exit_code)
    except click.Abort:
        _report("driftgauge: interrupted")
        sys.exit(_INTERRUPTED)
    except DriftgaugeError as error:
        _report(f"driftgauge: {error}")
        log.explain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        what = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        _report(f"driftgauge: reading or writing failed ({what}); check the disk, and where the output goes")
        sys.exit(1)
    sys.exit(status or 0)


def _report(text: str) -> None:
    """Print an error, which may have several lines, as messages."""
    from driftgauge.cli.printing import message

    for line in text.split("\n"):
        message(line)


@click.group(cls=_LazyGroup, epilog=_EXIT_STATUS)
@click.version_option(package_name="driftgauge")
def cli() -> None:
    """Watch embedding drift in real time: from a Kafka topic to a Prometheus gauge."""
