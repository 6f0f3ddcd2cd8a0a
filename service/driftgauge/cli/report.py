"""`driftgauge report`: what happened to a stream, as one file for a ticket."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from driftgauge.cli.options import FILE, TIME, WINDOW_LENGTH, read_settings
from driftgauge.cli.printing import json_option, message, print_json
from driftgauge.cli.progress import show_progress
from driftgauge.cli.recorded import recorded_options, replaying
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.files import writing

__all__ = ["report_command"]


@click.command("report")
@recorded_options
@click.option("--stream", help="The stream.  [default: the most urgent]")
@click.option(
    "--window", "size_ms", type=WINDOW_LENGTH, help="The windows' length.  [default: chosen likewise]"
)
@click.option(
    "--at",
    "at_ms",
    type=TIME,
    help="The window that starts at this time or last before, RFC 3339.  [default: the evidence of the last"
    " alarm; without an alarm the newest window]",
)
@click.option("--out", type=FILE, help="Write the report into this HTML file.")
@click.option(
    "--examples",
    "shows_examples",
    is_flag=True,
    help="Show the events of then and now: their pictures, from thumbnail_url, and their texts.",
)
@json_option
def report_command(
    files: tuple[Path, ...],
    config_path: Path,
    stream: str | None,
    size_ms: int | None,
    at_ms: int | None,
    out: Path | None,
    *,
    shows_examples: bool,
    as_json: bool,
    **source: Any,
) -> None:
    """Tell what happened to a stream, in one HTML file that loads nothing: for a ticket.

    FILES hold window results, one a line, as `replay --json` prints them; or recorded events, which are
    replayed, as are those of a topic from --from on. Without any of these the topic of window results is
    read.
    """
    from driftgauge.report.document import build_report, render_report, report_record
    from driftgauge.report.reading import holds_results, read_results, replayed_results, topic_results

    if out is None and not as_json:
        fault = "nothing to write; name a file with --out, or print --json"
        raise click.UsageError(fault)
    is_replay = any(source[name] is not None for name in ("topic", "from_ms", "until_ms"))
    with ExitStack() as stack:
        if not is_replay and (not files or holds_results(files)):
            settings = read_settings(config_path, connects=not files)
            with show_progress() as track:
                material = (
                    read_results(files, settings, track)
                    if files
                    else stack.enter_context(topic_results(settings, SYSTEM_CLOCK, track))
                )
            for note in material.notes:
                message(note)
        else:
            replay, replayed = stack.enter_context(replaying(config_path=config_path, files=files, **source))
            settings = replay.settings
            material = stack.enter_context(replayed_results(replay, replayed, files))
        report = build_report(
            material,
            settings,
            stream=stream,
            size_ms=size_ms,
            at_ms=at_ms,
            made_ms=SYSTEM_CLOCK.wall_ms(),
            shows_examples=shows_examples,
        )
        html = "" if out is None else render_report(report)
        record = report_record(report) if as_json else None
    if out is not None:
        with writing(out, "the report"):
            out.write_text(html, encoding="utf-8")
        message(f"wrote {out}, {len(html.encode()) / 1e6:.2f} MB")
    if record is not None:
        print_json(record.model_dump(mode="json"))
