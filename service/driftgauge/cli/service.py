"""`driftgauge serve` and `driftgauge config check`."""

import sys
from pathlib import Path

import click
import orjson

from driftgauge.app import check, serve, serve_page
from driftgauge.cli.inspection import inspect
from driftgauge.cli.options import FILE, config_option, read_settings
from driftgauge.cli.schedule import describe_schedule
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.durations import format_duration
from driftgauge.errors import ConfigError
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.logs import configure_logging

__all__ = ["config_group", "page_command", "serve_command"]


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
    configure_logging(as_json=not sys.stderr.isatty())
    serve(read_settings(config_path), tuple(Role) if role == "all" else (Role(role),))


@click.command("page")
@config_option
def page_command(config_path: Path) -> None:
    """Serve the page alone until SIGTERM: what the window results of all streams say, for a browser."""
    configure_logging(as_json=not sys.stderr.isatty())
    serve_page(read_settings(config_path))


@click.group("config")
def config_group() -> None:
    """Check the configuration."""


@config_group.command("check")
@config_option
@click.option(
    "--sample",
    type=FILE,
    help="Instead of the settings, show what the service makes of the records in this file: "
    "*.records.jsonl holds records as `kcat -J` prints them, other *.jsonl values, any other file one value.",
)
@click.option("--topic", help="The topic of the sample.  [default: the only events topic]")
@click.pass_context
def _check(ctx: click.Context, config_path: Path, sample: Path | None, topic: str | None) -> None:
    """Check the configuration and all its baselines; print the settings in force, with secrets masked.

    With --sample, show field by field what becomes of some records. No baseline is needed: without one,
    dimension and model version are not checked. Exits with 1 if a record is refused or its
    schema is not available.
    """
    settings = read_settings(config_path)
    if sample is not None:
        from driftgauge.inspection.samples import read_sample

        now_ms = SYSTEM_CLOCK.wall_ms()
        is_sound = inspect(settings, topic, lambda named: read_sample(sample, named, now_ms))
        ctx.exit(0 if is_sound else 1)
    if topic is not None:
        message = "--topic names the topic of a sample; add --sample, or leave it out"
        raise ConfigError(message)
    streams = check(settings)
    click.echo(orjson.dumps(settings.model_dump(mode="json"), option=orjson.OPT_INDENT_2).decode())
    now_ms = SYSTEM_CLOCK.wall_ms()
    warnings = 0
    for stream in streams:
        spec = stream.spec
        click.echo(
            f"stream {spec.name}: windows {', '.join(map(format_duration, spec.sizes_ms))}, "
            f"scored from {spec.min_events:,} events"
        )
        lines = describe_schedule(stream, now_ms)
        for line in lines:
            click.echo(f"  {line}")
        warnings += sum(line.startswith("warning: ") for line in lines)
    click.echo(f"{config_path}: {f'{warnings} warnings' if warnings else 'no problem found'}")
