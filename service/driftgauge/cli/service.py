"""`driftgauge serve` and `driftgauge config check`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from driftgauge.app import check, serve, serve_page
from driftgauge.cli.events import inspect
from driftgauge.cli.memory import memory_bytes
from driftgauge.cli.options import RECORDED, config_option, read_settings
from driftgauge.cli.printing import json_option, print_json, print_report
from driftgauge.cli.schedule import describe_schedule, report_schedule
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import ConfigError, DriftgaugeError
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.logs import configure_logging

__all__ = ["config_group", "page_command", "serve_command"]

_log = logging.getLogger(__name__)

_NO_KAFKA = (
    "the configuration has no section kafka: replay, backtest, health and report on files work "
    "without it, commands that connect do not; add it before you serve"
)


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
        serve(read_settings(config_path), roles, lambda: read_settings(config_path).log)


@click.command("page")
@config_option
def page_command(config_path: Path) -> None:
    """Serve the page alone until SIGTERM: what the window results of all streams say, for a browser."""
    with _logging():
        serve_page(read_settings(config_path), lambda: read_settings(config_path).log)


@contextmanager
def _logging() -> Iterator[None]:
    """Log in JSON, or as text to a terminal.

    In JSON the last line is of level critical where an error ends the process, and says which. On a terminal
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


@click.group("config")
def config_group() -> None:
    """Check the configuration."""


@config_group.command("check")
@config_option
@click.option(
    "--sample",
    type=RECORDED,
    help="Instead of the settings, show what the service makes of the records in this file: "
    "*.records.jsonl holds records as `kcat -J` prints them, other *.jsonl values, any other file one value.",
)
@click.option(
    "--topic", help="The topic of the sample's records that name none.  [default: the only events topic]"
)
@click.option("--show", is_flag=True, help="Also print the settings in force, with secrets masked.")
@json_option
@click.pass_context
def _check(
    ctx: click.Context,
    config_path: Path,
    sample: Path | None,
    topic: str | None,
    *,
    show: bool,
    as_json: bool,
) -> None:
    """Check the configuration and all its baselines; report topics, streams, baselines and memory.

    With --sample, show field by field what becomes of some records. No baseline is needed: without one,
    dimension and model version are not checked. Exits with 1 if a record is refused or its
    schema is not available.
    """
    settings = read_settings(config_path, connects=False, check=check)
    if sample is not None:
        from driftgauge.record_files import read_sample

        # Where topics are read differently, each record must name its own.
        only = settings.topics.events[0] if len(settings.topics.events) == 1 or not settings.inputs else ""
        records = read_sample(sample, topic or only, SYSTEM_CLOCK.wall_ms())
        is_sound = inspect(settings, records, as_json=as_json)
        ctx.exit(0 if is_sound else 1)
    if topic is not None:
        message = "--topic names the topic of a sample; add --sample, or leave it out"
        raise ConfigError(message)
    streams = check(settings)
    now_ms = SYSTEM_CLOCK.wall_ms()
    schedules = [report_schedule(stream, now_ms) for stream in streams]
    specs = [stream.spec for stream in streams for _ in range(stream.settings.most)]
    memory = memory_bytes(settings, specs)
    warnings = [] if settings.kafka else [_NO_KAFKA]
    judged = {key for stream in settings.streams for key in stream.segments}
    for name, mapping in settings.inputs.items():
        if unjudged := ", ".join(sorted(mapping.segments.keys() - judged)):
            warnings.append(f"inputs.{name}.segments: no stream judges {unjudged}; see streams[].segments")
        if mapping.snippet and not any(stream.snippet_bytes for stream in settings.streams):
            warnings.append(f"inputs.{name}.snippet: no stream keeps texts; see streams[].snippet_bytes")
    blocks = [f"warning: {warning}" for warning in warnings]
    warnings += [warning for schedule in schedules for warning in schedule.warnings]
    in_force = settings.model_dump(mode="json")
    report = {"settings": in_force, "streams": schedules, "memory_bytes": memory, "warnings": warnings}
    mapped = {topic: f"{mapping.encoding}, mapped" for topic, mapping in settings.inputs.items()}
    read = [f"{topic} ({mapped.get(topic, 'events in JSON')})" for topic in settings.topics.events]
    read += [f"{settings.topics.marks} (marks, for the page)"] * settings.page.enabled
    written = f"{settings.topics.windows} (results), {settings.topics.dead_letters} (refused records)"
    blocks += [f"topics: reads {', '.join(read)}", f"  writes {written}"]
    blocks += [line for schedule in schedules for line in describe_schedule(schedule)]
    parts = ", ".join(f"{part} {_to_mib(size)}" for part, size in memory.items())
    blocks.append(f"memory: at most about {_to_mib(sum(memory.values()))} MiB a replica: {parts}")
    found = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else "no problem found"
    blocks.append(f"{config_path}: {found}")
    print_report(report, lambda _: blocks, as_json=as_json)
    if show and not as_json:
        print_json(in_force)


def _to_mib(size: int) -> int:
    return round(size / 1024**2)
