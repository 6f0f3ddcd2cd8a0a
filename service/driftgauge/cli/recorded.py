"""`driftgauge replay` and `backtest`: recorded events through the same core, without a broker."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from driftgauge.cli.options import FILE, TIME, config_option, progress, settings_of
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import InputError
from driftgauge.events.results import result_record
from driftgauge.events.timestamps import format_timestamp

if TYPE_CHECKING:
    from driftgauge.replay import Replay

__all__ = ["backtest_command", "replay_command"]


@click.command("replay")
@click.argument("files", type=FILE, nargs=-1, required=True)
@config_option
@click.option("--json", "as_json", is_flag=True, help="One window-result record a line.")
def replay_command(files: tuple[Path, ...], config_path: Path, *, as_json: bool) -> None:
    """Run recorded events (.jsonl, .jsonl.gz; a file counts as a partition) through the same core."""
    from driftgauge.replay import Replay
    from driftgauge.streams import load_streams

    settings = settings_of(config_path)
    replay = Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=SYSTEM_CLOCK.wall_ms)
    for result in replay.run(files):
        click.echo(result_record(result) if as_json else _line(result))
    _say_refused(replay)


@click.command("backtest")
@click.argument("files", type=FILE, nargs=-1, required=True)
@config_option
@click.option(
    "--drift-from", "drift_ms", type=TIME, help="When drift began, RFC 3339: pages before are false."
)
@click.option("--picture", type=FILE, help="Draw the windows and their verdicts into this PNG file.")
@click.option(
    "--json", "as_json", is_flag=True, help="As one JSON array, an object for each stream and size."
)
def backtest_command(
    files: tuple[Path, ...], config_path: Path, drift_ms: int | None, picture: Path | None, *, as_json: bool
) -> None:
    """Say which pages recorded events (as for replay) would have brought, and what they were worth."""
    from driftgauge.backtest import report
    from driftgauge.backtest.track import tracks_of
    from driftgauge.replay import Replay
    from driftgauge.streams import load_streams

    settings = settings_of(config_path)
    replay = Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=SYSTEM_CLOCK.wall_ms)
    tracks = tracks_of(replay.run(files))
    _say_refused(replay)
    if not tracks:
        message = "no window was closed: the files hold no event of the configured streams"
        raise InputError(message)
    if as_json:
        click.echo(orjson.dumps(report.as_json(tracks, drift_ms), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(report.describe(tracks, drift_ms))
    if picture is not None:
        from driftgauge.backtest.picture import draw

        draw(tracks, drift_ms, picture)
        progress(f"drew {picture}")


def _say_refused(replay: "Replay") -> None:
    for (named, reason), number in sorted(replay.rejected.items(), key=str):
        if number:
            progress(f"refused: {number:,} events of {named or 'no known stream'}: {reason}")
    for (stream, size_ms), number in sorted(replay.late.items()):
        progress(
            f"late: {number:,} events of {stream} for windows of {format_duration(size_ms)}; sort the files "
            "by event time, or raise the stream's allowed_lateness"
        )


def _line(result: WindowResult) -> str:
    score = result.score
    judged = (
        "too few events to be scored"
        if score is None
        else f"JSD {score.js_divergence:.4f} (noise floor {score.noise_floor:.4f}), "
        f"mean shift {score.mean_shift.excess:.4f}, p {score.p_value:.2g}"
    )
    size = format_duration(result.window.size_ms)
    start = format_timestamp(result.window.start_ms)
    return (
        f"{result.stream} {size} {start} revision {result.revision}: {result.verdict}; "
        f"{result.count:,} events, {judged}"
    )
