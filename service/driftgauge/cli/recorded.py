"""`driftgauge replay` and `driftgauge backtest`: process recorded events without a broker."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftgauge.cli.options import FILE, TIME, config_option, read_settings
from driftgauge.cli.printing import (
    counted_refusals,
    json_option,
    message,
    print_blocks,
    print_line,
    print_report,
)
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import InputError
from driftgauge.events.descriptions import BaselineDescription
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
    from driftgauge.streams import describe_baselines, load_streams

    own_labels = _read_labels(labels)
    settings = read_settings(config_path, connects=False)
    streams = load_streams(settings)
    descriptions = describe_baselines(streams)
    results = []
    with _replaying(settings, streams) as replay:
        for result in replay.run(files):
            description = descriptions[result.baseline_id]
            if as_json:
                print_line(result_record(result, description).decode())
            else:
                print_blocks([_format_result(result, description)])
            if history is not None:
                results.append(result)
    if history is not None:
        _write_history(results, streams, history, own_labels)


@click.command("backtest")
@click.argument("files", type=FILE, nargs=-1, required=True)
@config_option
@click.option(
    "--drift-from", "drift_ms", type=TIME, help="Start of drift, RFC 3339; earlier pages are false."
)
@click.option("--picture", type=FILE, help="Draw windows and verdicts into this PNG file.")
@json_option
def backtest_command(
    files: tuple[Path, ...], config_path: Path, drift_ms: int | None, picture: Path | None, *, as_json: bool
) -> None:
    """Report the pages that recorded events (as for replay) would have caused, and how good they were."""
    from driftgauge.backtest import report
    from driftgauge.backtest.timeline import build_timelines
    from driftgauge.streams import load_streams

    settings = read_settings(config_path, connects=False)
    with _replaying(settings, load_streams(settings)) as replay:
        timelines = build_timelines(replay.run(files))
    if not timelines:
        fault = "no window closed, because the files have no events of the configured streams; check both"
        raise InputError(fault)
    reported = report.report_backtest(timelines, drift_ms, replay.refusals.by_reason())
    print_report(reported, report.describe, as_json=as_json)
    if picture is not None:
        from driftgauge.backtest.picture import draw

        draw(timelines, drift_ms, picture)
        message(f"drew {picture}")


@contextmanager
def _replaying(settings: Settings, streams: "list[ConfiguredStream]") -> "Iterator[Replay]":
    """Yield a replay that shows its progress, and report in the end what no window counts."""
    from driftgauge.replay import Replay

    with show_progress() as track, counted_refusals() as refusals:
        replay = Replay(
            streams,
            lead_ms=settings.allowed_lead,
            largest_bytes=settings.largest_record,
            clock_ms=SYSTEM_CLOCK.wall_ms,
            refusals=refusals,
            track=track,
        )
        yield replay
    for (stream, size_ms), number in sorted(replay.late.items()):
        message(
            f"late: {number:,} events of {stream} for windows of {format_duration(size_ms)}; "
            "sort the files by event time, or raise the stream's allowed_lateness"
        )


def _read_labels(labels: tuple[str, ...]) -> dict[str, str]:
    wrong = [label for label in labels if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*=.*", label)]
    if wrong:
        fault = f"--label {wrong[0]}: write NAME=VALUE, such as job=driftgauge"
        raise InputError(fault)
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
        fault = (
            f"{path}: cannot write the gauges: {error.strerror}; check the folder, its rights and its space"
        )
        raise InputError(fault) from error
    message(f"wrote {number:,} samples of {len(results):,} results to {path}")


def _format_result(result: WindowResult, description: BaselineDescription) -> str:
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
        f"{result.count:,} events, {scores}{_format_movers(result, description)}"
    )


def _format_movers(result: WindowResult, description: BaselineDescription) -> str:
    """Return the movers of a window that is no clean one, with their shares in the baseline and now."""
    if result.score is None or result.score.kind is None:
        return ""
    before = result.baseline_counts / result.baseline_counts.sum()
    now = result.counts / result.count
    return "; " + ", ".join(
        f"{description.label(mover)} {before[mover]:.1%} to {now[mover]:.1%}" for mover in result.score.movers
    )
