"""The demo's command line: `python -m deploy.demo [--keep] [prepare|publish …]`."""

import sys
from pathlib import Path

import click
from click.core import ParameterSource
from deploy.demo.digits import train_source
from deploy.demo.run import run_demo
from deploy.demo.traffic import LIVE_STREAM, publish_until_stopped

from driftgauge.baseline.artifact import save
from driftgauge.cli.options import config_option, read_settings
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import DriftgaugeError

__all__ = ["demo", "main"]

_FOLDER = click.Path(file_okay=False, path_type=Path)


def main() -> None:
    """Run the command line; report an expected error as a message and an exit status."""
    try:
        demo(prog_name="python -m deploy.demo")
    except DriftgaugeError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(error.exit_code)


@click.group(invoke_without_command=True)
@click.option("--out", type=_FOLDER, default="demo-out", show_default=True, help="The folder to write into.")
@click.option("--keep", is_flag=True, help="Keep the service running with live traffic afterwards.")
@click.pass_context
def demo(ctx: click.Context, out: Path, *, keep: bool) -> None:
    """Send three weeks of clean, blurred and darkened images through the service, on this machine alone.

    The commands below send its live traffic to a broker and a service of your own.
    """
    if ctx.invoked_subcommand is None:
        run_demo(out, keep=keep)
        return
    for name in ctx.params:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            message = f"--{name} before {ctx.invoked_subcommand} has no effect; remove it"
            raise click.UsageError(message)


@demo.command("prepare")
@click.option("--out", type=_FOLDER, required=True, help="The folder to write into.")
def _prepare(out: Path) -> None:
    """Fit the baseline of the live traffic's stream."""
    baseline = out / f"{LIVE_STREAM}.safetensors"
    save(train_source().fit(LIVE_STREAM, SYSTEM_CLOCK.wall_ms()), baseline)
    click.echo(f"fitted {baseline}")


@demo.command("publish")
@config_option
def _publish(config_path: Path) -> None:
    """Publish live traffic until SIGTERM, one week of each image quality in turn.

    A day of that traffic lasts as long as the stream's shortest window.
    """
    publish_until_stopped(
        read_settings(config_path), train_source(), clock_ms=SYSTEM_CLOCK.wall_ms, say=click.echo
    )


if __name__ == "__main__":
    main()
