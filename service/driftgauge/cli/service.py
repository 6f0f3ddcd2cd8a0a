"""`driftgauge serve` and `driftgauge page`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from driftgauge.app import serve, serve_page
from driftgauge.cli.options import config_option, read_settings
from driftgauge.errors import DriftgaugeError
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.logs import configure_logging

__all__ = ["page_command", "serve_command"]

_log = logging.getLogger(__name__)


@click.command("serve")
@config_option
@click.option(
    "--role",
    type=click.Choice([*(role.value for role in Role), "all"]),
    default="all",
    show_default=True,
    help="Role of this process: count events, close windows, or both.",
)
def serve_command(config_path: Path, role: str) -> None:
    """Run the service until SIGTERM: consume events, count, compare, export metrics."""
    roles = tuple(Role) if role == "all" else (Role(role),)
    with _logging():
        serve(read_settings(config_path), roles)


@click.command("page")
@config_option
def page_command(config_path: Path) -> None:
    """Serve the page alone until SIGTERM: what the window results of all streams say, for a browser."""
    with _logging():
        serve_page(read_settings(config_path))


@contextmanager
def _logging() -> Iterator[None]:
    """Log in JSON, or as text to a terminal.

    In JSON the last line is of level critical if an error ends the process, and says which. On a terminal
    the error is printed as by every command.
    """
    as_json = not sys.stderr.isatty()
    configure_logging(as_json=as_json)
    try:
        yield
    except Exception as error:
        if not as_json:
            raise
        is_expected = isinstance(error, DriftgaugeError)
        _log.critical(
            "the process ends because of an error",
            extra={
                "error": str(error) if is_expected else repr(error),
                "remedy": "do what the error says" if is_expected else "report it with the traceback",
            },
            exc_info=None if is_expected else error,
        )
        sys.exit(error.exit_code if isinstance(error, DriftgaugeError) else 1)
