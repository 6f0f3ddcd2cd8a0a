"""The command line: each command a few lines over the module that does the work."""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import orjson

from driftgauge.app import check, serve, wall_clock_ms
from driftgauge.baseline.segments import SegmentChoice, parse_choice
from driftgauge.config import HttpSettings, Settings, load_settings
from driftgauge.core.assignment import Metric
from driftgauge.core.durations import format_duration, parse_duration
from driftgauge.core.result import WindowResult
from driftgauge.errors import ConfigError, DriftgaugeError, InputError
from driftgauge.events.rejection import Reason
from driftgauge.events.results import result_record
from driftgauge.events.timestamps import format_timestamp, parse_timestamp
from driftgauge.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from driftgauge.history import Replay

__all__ = ["main"]

_T = TypeVar("_T")
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_config_option = click.option(
    "--config", "config_path", type=_FILE, required=True, help="The YAML configuration file."
)
_array_option = click.option("--array", metavar="KEY", help="Which array of an .npz file.")


class _Parsed(click.ParamType[_T]):
    """An option whose text one of our own parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], _T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: str | _T, param: click.Parameter | None, ctx: click.Context | None) -> _T:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Number(click.FloatRange):
    """A finite number in a range; click's own lets NaN pass, which is on neither side of a bound."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _parse_length(text: str) -> int:
    """Return the milliseconds of a duration that is not zero."""
    if (length_ms := parse_duration(text)) == 0:
        message = f"{text!r} is no length of a window; give one such as 10m, 1h or 1d"
        raise ValueError(message)
    return length_ms


_DURATION = _Parsed("duration", parse_duration)
_LENGTH = _Parsed("duration", _parse_length)
_TIME = _Parsed("time", parse_timestamp)
_SEGMENT = _Parsed("key=value,…", parse_choice)


def main() -> None:
    """Run the command line; an error that is ours is a message and an exit status, no traceback."""
    try:
        cli(prog_name="driftgauge")
    except DriftgaugeError as error:
        click.echo(f"driftgauge: {error}", err=True)
        sys.exit(error.exit_code)


@click.group()
@click.version_option(package_name="driftgauge")
def cli() -> None:
    """Watch embedding drift in real time: from a Kafka topic to a Prometheus gauge."""


@cli.command("serve")
@_config_option
def _serve(config_path: Path) -> None:
    """Run the service: consume, count, compare, expose; until SIGTERM."""
    configure_logging(as_json=not sys.stderr.isatty())
    serve(_settings(config_path))


@cli.group("config")
def _config() -> None:
    """The configuration."""


@_config.command("check")
@_config_option
def _check(config_path: Path) -> None:
    """Check the configuration and every baseline it names; print what is in force, secrets masked."""
    settings = _settings(config_path)
    streams = check(settings)
    click.echo(orjson.dumps(settings.model_dump(mode="json"), option=orjson.OPT_INDENT_2).decode())
    for stream in streams:
        spec, metadata = stream.spec, stream.baseline.metadata
        click.echo(
            f"stream {spec.name}: {metadata.clusters} clusters of {metadata.dimension} dimensions, "
            f"windows {', '.join(map(format_duration, spec.sizes_ms))}, "
            f"scored from {spec.min_events:,} events, baseline {spec.reference.baseline_id[:19]}…"
        )
    click.echo(f"{config_path}: no problem found")


@cli.group("baseline")
def _baseline() -> None:
    """Frozen baselines: what the events are compared with."""


@_baseline.command("fit")
@click.argument("source", metavar="INPUT", type=_FILE)
@click.option("--stream", required=True, help="The stream whose events the baseline will judge.")
@click.option("--out", type=_FILE, required=True, help="The file to write.")
@click.option("--clusters", type=click.IntRange(min=2), default=20, show_default=True)
@_array_option
@click.option(
    "--metric", type=click.Choice([metric.value for metric in Metric]), default="euclidean", show_default=True
)
@click.option("--model-version", help="The embedding model's version.")
@click.option(
    "--window",
    "window_ms",
    type=_LENGTH,
    default="1h",
    show_default=True,
    help="Windows of events to measure bursts by; best as long as those that will be judged.",
)
@click.option(
    "--segment",
    "segments",
    type=_SEGMENT,
    multiple=True,
    help="Judge events by the values of a segment key too; those not named count as other. Repeatable.",
)
@click.option("--training-set", is_flag=True, help="The model was trained on what INPUT was made from.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def _fit(
    source: Path,
    stream: str,
    out: Path,
    clusters: int,
    array: str | None,
    metric: str,
    model_version: str | None,
    window_ms: int,
    segments: tuple[SegmentChoice, ...],
    *,
    training_set: bool,
    seed: int,
) -> None:
    """Fit a baseline on the vectors in INPUT: .npy, .npz, or events in .jsonl or .jsonl.gz."""
    # scikit-learn is a weight that only this command carries.
    from driftgauge.baseline.artifact import save
    from driftgauge.baseline.fitting import Provenance, fit_baseline
    from driftgauge.baseline.report import describe
    from driftgauge.baseline.segments import find_members
    from driftgauge.baseline.vectors import read_vectors
    from driftgauge.baseline.windows import Traffic

    if not out.parent.is_dir():
        message = f"{out.parent} is not a folder; make it, or write the baseline elsewhere"
        raise InputError(message)
    read = read_vectors(source, array=array, stream=stream, model_version=model_version, progress=_progress)
    baseline = fit_baseline(
        read.vectors,
        stream=stream,
        model_version=model_version or read.model_version,
        clusters=clusters,
        metric=Metric(metric),
        seed=seed,
        created_ms=wall_clock_ms(),
        progress=_progress,
        provenance=Provenance(
            traffic=None if read.times_ms is None else Traffic.of(read.times_ms, window_ms),
            members=find_members(read.segments, segments),
            training_set=training_set,
        ),
    )
    save(baseline, out)
    click.echo(describe(baseline, out))


@_baseline.command("show")
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def _show(file: Path, *, as_json: bool) -> None:
    """Verify the baseline in FILE and print what it holds."""
    from driftgauge.baseline import report
    from driftgauge.baseline.artifact import load

    baseline = load(file)
    if as_json:
        click.echo(orjson.dumps(report.as_json(baseline), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(report.describe(baseline, file))


@_baseline.command("compare")
@click.argument("first", metavar="A", type=_FILE)
@click.argument("second", metavar="B", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    """Tell whether results against the baselines in A and B can be compared, and how far they differ."""
    from driftgauge.baseline import comparison_report
    from driftgauge.baseline.artifact import load
    from driftgauge.baseline.comparison import compare

    compared = compare(load(first), load(second))
    if as_json:
        click.echo(orjson.dumps(comparison_report.as_json(compared), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(comparison_report.describe(compared, first, second))


@cli.command("replay")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@_config_option
@click.option("--json", "as_json", is_flag=True, help="One window-result record a line.")
def _replay(files: tuple[Path, ...], config_path: Path, *, as_json: bool) -> None:
    """Run recorded events (.jsonl, .jsonl.gz; a file counts as a partition) through the same core."""
    from driftgauge.history import Replay
    from driftgauge.watching import load_streams

    settings = _settings(config_path)
    replay = Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=wall_clock_ms)
    for result in replay.run(files):
        click.echo(result_record(result) if as_json else _line(result))
    _say_refused(replay)


@cli.command("backtest")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@_config_option
@click.option(
    "--drift-from", "drift_ms", type=_TIME, help="When drift began, RFC 3339: pages before are false."
)
@click.option("--picture", type=_FILE, help="Draw the windows and their verdicts into this PNG file.")
@click.option(
    "--json", "as_json", is_flag=True, help="As one JSON array, an object for each stream and size."
)
def _backtest(
    files: tuple[Path, ...], config_path: Path, drift_ms: int | None, picture: Path | None, *, as_json: bool
) -> None:
    """Say which pages recorded events (as for replay) would have brought, and what they were worth."""
    from driftgauge.backtest import report
    from driftgauge.backtest.track import tracks_of
    from driftgauge.history import Replay
    from driftgauge.watching import load_streams

    settings = _settings(config_path)
    replay = Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=wall_clock_ms)
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
        _progress(f"drew {picture}")


@cli.command("publish")
@click.argument("source", metavar="FILE", type=_FILE)
@_config_option
@click.option("--stream", required=True, help="The stream the events name.")
@click.option("--topic", help="The topic; the configuration's first events topic unless given.")
@_array_option
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second; else at full speed."
)
@click.option(
    "--start", "start_ms", type=_TIME, help="Event time of the first event, RFC 3339; else now - span."
)
@click.option(
    "--span", "span_ms", type=_DURATION, default="1h", show_default=True, help="Event time covered."
)
@click.option("--disorder", "disorder_ms", type=_DURATION, default="0s", help="How far out of order to send.")
@click.option(
    "--model-version",
    help="The model version the events name; of recorded events, send only those of this one or of none.",
)
@click.option("--base64", "as_base64", is_flag=True, help="Send vectors as base64 rather than JSON numbers.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def _publish(
    source: Path,
    config_path: Path,
    stream: str,
    topic: str | None,
    array: str | None,
    rate: float | None,
    start_ms: int | None,
    span_ms: int,
    disorder_ms: int,
    model_version: str | None,
    as_base64: bool,
    seed: int,
) -> None:
    """Send the vectors in FILE as events, spread evenly over a span of event time.

    Events in .jsonl or .jsonl.gz keep their own times unless --start is given.
    """
    from driftgauge.baseline.vectors import read_vectors
    from driftgauge.kafka.client import producer
    from driftgauge.kafka.publisher import Publication, publish

    settings = _settings(config_path)
    if stream not in {watched.name for watched in settings.streams}:
        message = (
            f"{config_path} does not watch a stream {stream}: its events would all be refused; add it there"
        )
        raise ConfigError(message)
    read = read_vectors(source, array=array, stream=stream, model_version=model_version, progress=_progress)
    topic = topic or settings.topics.events[0]
    model_version = read.model_version
    if start_ms is None and read.times_ms is not None:
        publication = Publication(topic, stream, read.vectors, read.times_ms, model_version, as_base64)
    else:
        publication = Publication.spread(
            topic=topic,
            stream=stream,
            vectors=read.vectors,
            start_ms=wall_clock_ms() - span_ms if start_ms is None else start_ms,
            span_ms=span_ms,
            disorder_ms=disorder_ms,
            seed=seed,
            model_version=model_version,
            as_base64=as_base64,
        )
    publish(producer(settings.kafka), publication, rate=rate)
    first, last = (
        format_timestamp(int(time_ms)) for time_ms in (publication.times_ms.min(), publication.times_ms.max())
    )
    click.echo(f"published {len(read.vectors):,} events to {topic}, event time {first} to {last}")


@cli.command("plan")
@click.option(
    "--events-per-hour", type=_Number(0, min_open=True), required=True, help="The events of one stream."
)
@click.option("--clusters", type=click.IntRange(min=2), help="Of the baseline.  [default: 20]")
@click.option("--components", type=click.IntRange(min=1), help="Of the baseline.  [default: 32]")
@click.option(
    "--smallest-divergence",
    type=_Number(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="The smallest Jensen-Shannon divergence worth finding.",
)
@click.option(
    "--smallest-shift",
    type=_Number(0, min_open=True),
    default=0.05,
    show_default=True,
    help="The smallest mean shift worth finding: its Mahalanobis length squared.",
)
@click.option("--false-pages-per-year", type=_Number(0, min_open=True), default=1.0, show_default=True)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Streams that share the budget.",
)
@click.option("--baseline", "baseline_path", type=_FILE, help="A fitted baseline, rather than its figures.")
@click.option("--baseline-count", type=click.IntRange(min=1), help="The events that the baseline counts.")
@click.option(
    "--dispersion",
    type=_Number(1),
    help="How many times as much as independent events windows vary; else as the baseline says.",
)
@click.option("--daily-cycle", is_flag=True, help="The traffic is another at night than by day.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def _plan(
    events_per_hour: float,
    clusters: int | None,
    components: int | None,
    smallest_divergence: float,
    smallest_shift: float,
    false_pages_per_year: float,
    streams: int,
    baseline_path: Path | None,
    baseline_count: int | None,
    dispersion: float | None,
    *,
    daily_cycle: bool,
    as_json: bool,
) -> None:
    """Plan windows: from the traffic and the smallest drift worth finding to length, count and power."""
    from driftgauge.baseline.artifact import load
    from driftgauge.planning import report
    from driftgauge.planning.plan import Request, make_plan, sensitivity_of

    plan = make_plan(
        Request(
            events_per_hour=events_per_hour,
            sensitivity=sensitivity_of(
                load(baseline_path) if baseline_path else None,
                clusters=clusters,
                components=components,
                baseline_count=baseline_count,
                dispersion=dispersion,
            ),
            js_divergence=smallest_divergence,
            mean_shift=smallest_shift,
            false_pages_per_year=false_pages_per_year,
            streams=streams,
            daily_cycle=daily_cycle,
        )
    )
    if as_json:
        click.echo(orjson.dumps(report.as_json(plan), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(report.describe(plan))


@cli.command("health")
@click.option("--config", "config_path", type=_FILE, help="Ask the service of this configuration.")
@click.option("--url", help="Ask the one at this URL.  [default: http://127.0.0.1:9464]")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@click.pass_context
def _health(ctx: click.Context, config_path: Path | None, url: str | None, *, ready: bool) -> None:
    """Ask a running service whether it is alive; exit with 0 if so, else with 1."""
    from driftgauge.telemetry.probe import ask, url_of

    if config_path is not None and url is not None:
        message = "--config and --url both say where to ask; give one"
        raise ConfigError(message)
    if url is None:
        url = url_of(HttpSettings() if config_path is None else _settings(config_path).http)
    healthy, line = ask(url, ready=ready)
    click.echo(line)
    ctx.exit(0 if healthy else 1)


@cli.group("demo", invoke_without_command=True)
@click.option("--out", type=_FOLDER, default="demo-out", show_default=True)
@click.option("--keep", is_flag=True, help="Keep running with fresh traffic once the story is told.")
@click.pass_context
def _demo(ctx: click.Context, out: Path, *, keep: bool) -> None:
    """Tell the published story on this machine alone: three weeks of clean, blurred, darkened images.

    The commands below are its live traffic in parts, for a broker and a service of their own.
    """
    if ctx.invoked_subcommand is None:
        from driftgauge.demo.story import tell

        tell(out, keep=keep)


@_demo.command("prepare")
@click.option("--out", type=_FOLDER, required=True, help="The folder to write into.")
def _prepare(out: Path) -> None:
    """Train the network, and fit the baseline of the live traffic's stream."""
    from driftgauge.baseline.artifact import save
    from driftgauge.demo.live import LIVE_STREAM
    from driftgauge.demo.source import train_source

    source = train_source()
    network, baseline = out / "network.safetensors", out / f"{LIVE_STREAM}.safetensors"
    source.network.save(network)
    save(source.fit(LIVE_STREAM, wall_clock_ms()), baseline)
    click.echo(f"trained {network}, fitted {baseline}")


@_demo.command("publish")
@click.argument("network", type=_FILE)
@_config_option
def _publish_live(network: Path, config_path: Path) -> None:
    """Publish the live traffic of the trained NETWORK until SIGTERM, a week under each condition.

    A day of the story lasts as long as the stream's shortest window.
    """
    from driftgauge.demo.live import publish_until_stopped
    from driftgauge.demo.source import load_source

    publish_until_stopped(
        _settings(config_path), load_source(network), clock_ms=wall_clock_ms, say=click.echo
    )


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _say_refused(replay: "Replay") -> None:
    for (stream, reason), number in sorted(replay.rejected.items(), key=str):
        if number:
            _progress(f"refused: {number:,} events of {stream or 'no known stream'}: {reason}")
    if any(number and reason is Reason.LATE for (_, reason), number in replay.rejected.items()):
        _progress("late: sort the files by event time, or raise the stream's allowed_lateness")


def _settings(path: Path) -> Settings:
    return load_settings(path, os.environ)


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
