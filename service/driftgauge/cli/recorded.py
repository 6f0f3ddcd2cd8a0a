"""`driftgauge replay` and `driftgauge backtest`: process recorded events without a broker."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftgauge.cli.options import (
    FILE,
    RECORDED,
    TIME,
    config_option,
    join_options,
    open_schemas,
    range_options,
    read_range,
    read_settings,
)
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
from driftgauge.core.by_stream import ByStream
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import InputError
from driftgauge.events.records import OLDEST_MS
from driftgauge.events.timestamps import format_timestamp
from driftgauge.files import writing
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.records.window_results import result_record

if TYPE_CHECKING:
    from driftgauge.recorded.replay import RecordReplay

__all__ = ["backtest_command", "recorded_options", "replay_command", "replaying"]


recorded_options = join_options(
    click.argument("files", metavar="[FILES]...", type=RECORDED, nargs=-1),
    config_option,
    click.option(
        "--topic",
        help="The topic whose records FILES hold; without FILES this topic is read, from --from on."
        "  [default: the only events topic]",
    ),
    range_options,
)


@click.command("replay")
@recorded_options
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
def replay_command(history: Path | None, labels: tuple[str, ...], *, as_json: bool, **source: Any) -> None:
    """Process recorded events as the service does, but no event is late.

    Windows close once all events are read: until then the counts of every pane are in memory
    (`config check` names the size of a pane). FILES are .jsonl or .jsonl.gz, a record's value a line, or
    *.records.jsonl, records as `kcat -J` prints them; - is standard input. Each is one partition. Their
    records are read by the mapping of their topic.
    """
    from driftgauge.streams import describe_baselines

    own_labels = _read_labels(labels)
    results = []
    with replaying(**source) as (replay, replayed):
        descriptions = describe_baselines(replay.streams)
        for result in replayed:
            description = descriptions[result.baseline_id]
            if as_json:
                print_line(result_record(result, description).decode())
            else:
                print_blocks([_format_result(result, description)])
            if history is not None:
                results.append(result)
    if history is not None:
        from driftgauge.recorded.backfill import write_history
        from driftgauge.streams import watch

        with writing(history, "the gauges"), history.open("wb") as file:
            number = write_history(results, map(watch, replay.streams), file, own_labels)
        message(f"wrote {number:,} samples of {len(results):,} results to {history}")


@click.command("backtest")
@recorded_options
@click.option(
    "--drift-from", "drift_ms", type=TIME, help="Start of drift, RFC 3339; earlier pages are false."
)
@json_option
def backtest_command(drift_ms: int | None, *, as_json: bool, **source: Any) -> None:
    """Report the pages that recorded events (as for replay) would have caused, and how good they were.

    `driftgauge report` draws the windows of the same events over time.
    """
    from driftgauge.recorded import backtest as report

    with replaying(**source) as (replay, replayed):
        timelines = report.build_timelines(replayed)
    if not timelines:
        fault = "no window closed, because no event of the configured streams was read; check both"
        raise InputError(fault)
    alarms = ByStream({stream.spec.name: stream.spec.alarm for stream in replay.streams})
    reported = report.report_backtest(timelines, alarms, drift_ms, replay.refusals.by_reason())
    print_report(reported, report.describe, as_json=as_json)


@contextmanager
def replaying(
    *,
    config_path: Path,
    files: tuple[Path, ...],
    topic: str | None,
    from_ms: int | None,
    until_ms: int | None,
    slack_ms: int,
) -> "Iterator[tuple[RecordReplay, Iterator[WindowResult]]]":
    """Yield the replay that the options choose, and its results; show its progress.

    In the end, messages say what no window counts.

    Raises:
        InputError: The options name no source or two.
    """
    from driftgauge.recorded.record_files import RecordFiles, choose_topic
    from driftgauge.recorded.replay import RecordReplay
    from driftgauge.streams import load_streams
    from driftgauge.topics.topic_range import TopicRange

    if bool(files) == (from_ms is not None or until_ms is not None):
        fault = "name FILES of records, or --topic and --from to read a topic, and no range with FILES"
        raise InputError(fault)
    settings = read_settings(config_path, connects=not files)
    topic = choose_topic(settings, topic)
    inputs = settings.inputs_of(topic).values()
    with (
        show_progress() as track,
        counted_refusals() as refusals,
        open_schemas(settings, inputs) as schemas,
    ):
        replay = RecordReplay(
            load_streams(settings),
            settings,
            clock=SYSTEM_CLOCK,
            refusals=refusals,
            topic=topic,
            schemas=schemas,
            age_ms=OLDEST_MS if files else settings.allowed_age,
        )
        if files:
            yield replay, replay.count(RecordFiles(files, topic, track, refusals))
        else:
            from_ms, until_ms = read_range(from_ms, until_ms)
            first_ms, end_ms = from_ms - slack_ms, until_ms + slack_ms
            with TopicRange(settings.kafka, topic, first_ms, end_ms, track) as records:
                yield replay, replay.count(records, from_ms, until_ms)
                if cut := records.describe_cut(from_ms):
                    message(f"warning: {cut}")
    if not replay.events:
        message(f"no event was counted; {replay.records:,} records were read")
    for gap in replay.gaps.describe():
        message(f"warning: {gap}")
    for match, number in sorted(replay.surplus.items()):
        message(
            f"surplus: {number:,} events of streams that match {match} are in no window; "
            "raise most of the entry, or leave these streams out"
        )


def _read_labels(labels: tuple[str, ...]) -> dict[str, str]:
    wrong = [label for label in labels if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*=.*", label)]
    if wrong:
        fault = f"--label {wrong[0]}: write NAME=VALUE, such as job=driftgauge"
        raise InputError(fault)
    return dict(label.split("=", 1) for label in labels) or {"job": "driftgauge"}


def _format_result(result: WindowResult, description: BaselineDescription) -> str:
    scores = "too few events to be scored"
    if (score := result.score) is not None:
        scores = (
            f"JSD {score.divergence.js_divergence:.4f} (noise floor {score.divergence.noise_floor:.4f}), "
            f"p {score.p_value:.2g}{f', {score.kind}' if score.kind else ''}"
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
