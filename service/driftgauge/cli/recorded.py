"""`driftgauge replay` and `driftgauge backtest`: process recorded events without a broker."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from driftgauge.cli.options import FILE, TIME, config_option, progress, read_settings
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import InputError
from driftgauge.events.results import result_record
from driftgauge.events.timestamps import format_timestamp

if TYPE_CHECKING:
    from driftgauge.replay import Replay
    from driftgauge.streams import ConfiguredStream

__all__ = ["backtest_command", "replay_command"]


@click.command("replay")
@click.argument("files", type=FILE, nargs=-1, required=True)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one window-result record per line.")
@click.option(
    "--openmetrics",
    "history",
    type=FILE,
    help="Also write the gauges of the windows, with event times, for `promtool tsdb create-blocks-from"
    " openmetrics`.",
)
@click.option(
    "--label",
    "labels",
    metavar="NAME=VALUE",
    multiple=True,
    help="A label of these gauges.  [default: job=driftgauge]  Repeatable.",
)
def replay_command(
    files: tuple[Path, ...],
    config_path: Path,
    history: Path | None,
    labels: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Process recorded events (.jsonl, .jsonl.gz; each file is one partition) as the service does."""
    from driftgauge.replay import Replay
    from driftgauge.streams import load_streams

    own_labels = _read_labels(labels)
    settings = read_settings(config_path)
    streams = load_streams(settings)
    replay = Replay(streams, lead_ms=settings.allowed_lead, clock_ms=SYSTEM_CLOCK.wall_ms)
    results = []
    for result in replay.run(files):
        click.echo(result_record(result) if as_json else _format_result(result))
        if history is not None:
            results.append(result)
    _report_excluded(replay)
    if history is not None:
        _write_history(results, streams, history, own_labels)


@click.command("backtest")
@click.argument("files", type=FILE, nargs=-1, required=True)
@config_option
@click.option(
    "--drift-from", "drift_ms", type=TIME, help="Start of drift, RFC 3339; earlier pages are false."
)
@click.option("--picture", type=FILE, help="Draw windows and verdicts into this PNG file.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON array with an object per stream and window size."
)
def backtest_command(
    files: tuple[Path, ...], config_path: Path, drift_ms: int | None, picture: Path | None, *, as_json: bool
) -> None:
    """Report the pages that recorded events (as for replay) would have caused, and how good they were."""
    from driftgauge.backtest import report
    from driftgauge.backtest.timeline import build_timelines
    from driftgauge.replay import Replay
    from driftgauge.streams import load_streams

    settings = read_settings(config_path)
    replay = Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=SYSTEM_CLOCK.wall_ms)
    timelines = build_timelines(replay.run(files))
    _report_excluded(replay)
    if not timelines:
        message = "no window closed, because the files have no events of the configured streams; check both"
        raise InputError(message)
    if as_json:
        click.echo(orjson.dumps(report.as_json(timelines, drift_ms), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(report.describe(timelines, drift_ms))
    if picture is not None:
        from driftgauge.backtest.picture import draw

        draw(timelines, drift_ms, picture)
        progress(f"drew {picture}")


def _read_labels(labels: tuple[str, ...]) -> dict[str, str]:
    wrong = [label for label in labels if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*=.*", label)]
    if wrong:
        message = f"--label {wrong[0]}: write NAME=VALUE, such as job=driftgauge"
        raise InputError(message)
    return dict(label.split("=", 1) for label in labels) or {"job": "driftgauge"}


def _write_history(
    results: list[WindowResult], streams: "list[ConfiguredStream]", path: Path, labels: dict[str, str]
) -> None:
    from driftgauge.history import write_history
    from driftgauge.streams import watch

    try:
        with path.open("wb") as file:
            number = write_history(results, map(watch, streams), file, labels)
    except OSError as error:
        message = (
            f"{path}: cannot write the gauges: {error.strerror}; name a file in a folder you may write to"
        )
        raise InputError(message) from error
    progress(f"wrote {number:,} samples of {len(results):,} results to {path}")


def _report_excluded(replay: "Replay") -> None:
    for (named, reason), number in sorted(replay.rejected.items(), key=str):
        if number:
            progress(f"rejected: {number:,} events of {named or 'no known stream'}: {reason}")
    for (stream, size_ms), number in sorted(replay.late.items()):
        progress(
            f"late: {number:,} events of {stream} for windows of {format_duration(size_ms)}; "
            "sort the files by event time, or raise the stream's allowed_lateness"
        )


def _format_result(result: WindowResult) -> str:
    score = result.score
    scores = (
        "too few events to be scored"
        if score is None
        else f"JSD {score.js_divergence:.4f} (noise floor {score.noise_floor:.4f}), "
        f"mean shift {score.mean_shift.excess:.4f}, p {score.p_value:.2g}"
    )
    size = format_duration(result.window.size_ms)
    start = format_timestamp(result.window.start_ms)
    return (
        f"{result.stream} {size} {start} revision {result.revision}: {result.verdict}; "
        f"{result.count:,} events, {scores}"
    )
