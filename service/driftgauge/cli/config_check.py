"""`driftgauge config check`: problems and warnings, the baseline schedules, and the memory of a replica."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import click

from driftgauge.app import check
from driftgauge.cli.events import inspect
from driftgauge.cli.options import RECORDED, config_option, read_settings
from driftgauge.cli.printing import json_option, print_report
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.config.stream import WarmUp
from driftgauge.core.commit_limit import MAX_COMMIT_BYTES
from driftgauge.core.counting.examples import MAX_EXAMPLES, MAX_FARTHEST
from driftgauge.core.durations import format_duration
from driftgauge.core.spec import ScheduledBaseline, StreamSpec
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS
from driftgauge.engine.count.dead_letters import MAX_BUFFERED_BYTES
from driftgauge.engine.preflight import Cluster, inspect_cluster
from driftgauge.errors import ConfigError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka.client import fetched_bytes
from driftgauge.page.summary import SUMMARY
from driftgauge.streams import ConfiguredStream
from driftgauge.topics.follower import BOUNDS

__all__ = ["config_group", "describe_schedule", "memory_bytes", "report_schedule", "tally_bytes"]

_NO_KAFKA = (
    "the configuration has no section kafka: replay, backtest, health and report on files work "
    "without it, commands that connect do not; add it before you serve"
)
_CHANGE = (
    "  replicas with a changed configuration may replace these one by one, if kafka.group.id, "
    "topics.internal and shards stay as they are"
)
_SHOWN_IDENTITY_CHARACTERS = 19

# The interpreter, libraries, baselines, and clients without records (measured).
_PROCESS_BYTES: Final = 110 * 1024 * 1024
_CONSUMERS: Final = 3  # of events, partials and changelog
_ROLES: Final = 2
_INTEGER_BYTES: Final = 8
# Array, entries and keys of a tally beside its numbers: 420 bytes as traced, and what the allocator wastes.
_PANE_BYTES: Final = 600
_EXAMPLE_BYTES: Final = 64


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
@click.option(
    "--broker",
    "asks_broker",
    is_flag=True,
    help="Also ask the brokers for what the service needs: topics and their settings, rights, transactions, "
    "the clock. Exits with 1 if something is missing, with the command that mends it.",
)
@json_option
@click.pass_context
def _check(
    ctx: click.Context,
    config_path: Path,
    sample: Path | None,
    topic: str | None,
    *,
    asks_broker: bool,
    as_json: bool,
) -> None:
    """Check the configuration and all its baselines; report topics, streams, baselines and memory.

    With --json, also print the settings in force, with secrets masked.

    The check does not know which window sizes the service had before, so it does not warn that a removed
    one ends its alert.

    With --sample, show field by field what becomes of some records. No baseline is needed: without one,
    dimension and model version are not checked. Exits with 1 if a record is refused or its
    schema is not available.
    """
    settings = read_settings(config_path, connects=asks_broker)
    if sample is not None:
        from driftgauge.recorded.record_files import read_sample

        # If topics are read differently, each record must name its own.
        only = settings.topics.events[0] if len(settings.topics.events) == 1 or not settings.inputs else ""
        records = read_sample(sample, topic or only, SYSTEM_CLOCK.wall_ms())
        inspected = inspect(settings, records, as_json=as_json)
        ctx.exit(0 if all(each.rejection is None for each in inspected) else 1)
    if topic is not None:
        message = "--topic names the topic of a sample; add --sample, or leave it out"
        raise ConfigError(message)
    streams, _ = check(settings)
    now_ms = SYSTEM_CLOCK.wall_ms()
    schedules = [report_schedule(stream, now_ms) for stream in streams]
    specs = [stream.spec for stream in streams for _ in range(stream.settings.most)]
    memory = memory_bytes(settings, specs)
    warnings = [] if settings.kafka else [_NO_KAFKA]
    named = {number for stream in settings.streams for number in stream.numbers}
    judged = {key for stream in settings.streams for key in stream.segments}
    for name, mapping in settings.inputs.items():
        if unjudged := ", ".join(sorted(mapping.segments.keys() - judged)):
            warnings.append(f"inputs.{name}.segments: no stream judges {unjudged}; see streams[].segments")
        if mapping.snippet and not any(stream.snippet_bytes for stream in settings.streams):
            warnings.append(f"inputs.{name}.snippet: no stream keeps texts; see streams[].snippet_bytes")
        if lacking := ", ".join(sorted(named - mapping.numbers.keys())):
            warnings.append(
                f"inputs.{name}.numbers: no place of {lacking}, so events have none; see streams[].numbers"
            )
        if unnamed := ", ".join(sorted(mapping.numbers.keys() - named)):
            warnings.append(f"inputs.{name}.numbers: no stream names {unnamed}; see streams[].numbers")
    blocks = [f"warning: {warning}" for warning in warnings]
    warnings += [warning for schedule in schedules for warning in schedule.warnings]
    report: dict[str, object] = {
        "settings": settings.model_dump(mode="json"),
        "streams": schedules,
        "memory_bytes": memory,
        "warnings": warnings,
    }
    mapped = {topic: f"{mapping.encoding}, mapped" for topic, mapping in settings.inputs.items()}
    read = [f"{topic} ({mapped.get(topic, 'events in JSON')})" for topic in settings.topics.events]
    read += [f"{settings.topics.marks} (marks, for the page)"] * settings.page.enabled
    written = f"{settings.topics.windows} (results), {settings.topics.dead_letters} (refused records)"
    blocks += [f"topics: reads {', '.join(read)}", f"  writes {written}"]
    blocks += [_CHANGE] * bool(settings.kafka)
    blocks += [line for schedule in schedules for line in describe_schedule(schedule)]
    parts = ", ".join(f"{part} {_to_mib(size)}" for part, size in memory.items())
    blocks.append(f"memory: at most about {_to_mib(sum(memory.values()))} MiB a replica: {parts}")
    found = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else "no problem found"
    blocks.append(f"{config_path}: {found}")
    is_ready = True
    if asks_broker:
        cluster = inspect_cluster(settings, SYSTEM_CLOCK)
        report["cluster"] = cluster
        blocks += _describe_cluster(cluster)
        is_ready = not cluster.shortfalls
    print_report(report, lambda _: blocks, as_json=as_json)
    ctx.exit(0 if is_ready else 1)


def _describe_cluster(cluster: Cluster) -> Iterator[str]:
    yield f"cluster: {cluster.brokers} {'broker' if cluster.brokers == 1 else 'brokers'}"
    for name, (partitions, replicas) in cluster.topics.items():
        yield f"  topic {name}: {partitions} x {replicas} (partitions x replicas)"
    if cluster.created:
        yield f"  created at the start: {', '.join(cluster.created)}"
    if cluster.clock_offset_ms is not None:
        yield f"  clock: differs from the brokers' by {cluster.clock_offset_ms} ms at least"
    yield from (f"  not asked: {each}" for each in cluster.unknown)
    for each in cluster.shortfalls:
        yield f"problem: {each.problem}"
        yield f"  {each.remedy}"
    yield (
        "nothing is missing on the cluster, as far as it was asked"
        if not cluster.shortfalls
        else (f"{len(cluster.shortfalls)} problem{'s' if len(cluster.shortfalls) > 1 else ''} on the cluster")
    )


def _to_mib(size: int) -> int:
    return round(size / 1024**2)


@dataclass(frozen=True, slots=True)
class ScheduledPeriod:
    """A baseline and its period in force, event time, ms; None: without a bound.

    `uncalibrated` are the window sizes of which nothing says how much clean ones vary.
    """

    file: Path
    identity: str
    clusters: int
    dimension: int
    created_ms: int
    from_ms: int | None
    until_ms: int | None
    in_force: bool
    uncalibrated: list[str]


@dataclass(frozen=True, slots=True)
class StreamSchedule:
    """The windows and baselines of a stream, or of the streams that match a pattern, and warnings.

    Attributes:
        name: The stream's name, or the pattern.
        most: The number of streams that may match; None for a name.
        windows: The window sizes.
        min_events: A window with fewer events is not scored.
        baselines: The baselines.
        pane_bytes: The memory of one pane of a stream without examples and segments, and the most with both.
        warm_up: The event time that is declared clean; None: none is.
        warnings: A warning for each detectable mistake.
    """

    name: str
    most: int | None
    windows: list[str]
    min_events: int
    baselines: list[ScheduledPeriod]
    pane_bytes: tuple[int, int]
    warm_up: WarmUp | None
    warnings: list[str]


def report_schedule(stream: ConfiguredStream, now_ms: int) -> StreamSchedule:
    """Return the report on a stream's windows and baselines."""
    listed, spec = stream.settings.baselines, stream.spec
    ends_ms = [*(later.from_ms for later in listed[1:]), None]
    periods = [
        ScheduledPeriod(
            settings.file,
            baseline.identity,
            baseline.metadata.clusters,
            baseline.metadata.dimension,
            baseline.metadata.created_ms,
            settings.from_ms,
            until_ms,
            (settings.from_ms is None or settings.from_ms <= now_ms)
            and (until_ms is None or now_ms < until_ms),
            [
                format_duration(size_ms)
                for size_ms in spec.sizes_ms
                if spec.alarm.warm_up is None and size_ms != baseline.metadata.window_ms
            ],
        )
        for settings, baseline, until_ms in zip(listed, stream.baselines, ends_ms, strict=True)
    ]
    windows = list(map(format_duration, spec.sizes_ms))
    warnings = [*_warnings(periods, ", ".join(windows)), *_warm_up_warnings(stream, periods)]
    most = stream.settings.most if stream.settings.match else None
    plain = max(tally_bytes(spec.scheme(each.reference).length) for each in spec.baselines)
    largest = max(_pane_bytes(spec, each) for each in spec.baselines)
    return StreamSchedule(
        spec.name,
        most,
        windows,
        spec.min_events,
        periods,
        (plain, largest),
        stream.settings.warm_up,
        warnings,
    )


def describe_schedule(schedule: StreamSchedule) -> list[str]:
    """Return the windows, the memory of a pane, a line for each baseline, then the warnings."""
    windows = ", ".join(schedule.windows)
    limit = "" if schedule.most is None else f" ({schedule.most:,} at most)"
    return [
        f"stream {schedule.name}{limit}: windows {windows}, scored from {schedule.min_events:,} events",
        _describe_panes(schedule),
        *(() if schedule.warm_up is None else (_describe_warm_up(schedule.warm_up),)),
        *(f"  {line}" for period in schedule.baselines for line in _describe_period(period)),
        *(f"  warning: {warning}" for warning in schedule.warnings),
    ]


def _describe_panes(schedule: StreamSchedule) -> str:
    plain, largest = schedule.pane_bytes
    return (
        f"  a pane that waits takes {plain:,} bytes of memory, {largest:,} at most with examples and "
        "segments; after an outage panes wait until their windows are closed"
    )


def _describe_warm_up(warm_up: WarmUp) -> str:
    span = f"from {format_timestamp(warm_up.start)} until {format_timestamp(warm_up.end)}"
    return (
        f"  warm_up {span}: whether it holds events is not checked here; driftgauge backtest says where too "
        "few of its windows do"
    )


def _describe_period(period: ScheduledPeriod) -> Iterator[str]:
    start = "the beginning" if period.from_ms is None else format_timestamp(period.from_ms)
    end = "on" if period.until_ms is None else f"until {format_timestamp(period.until_ms)}"
    yield (
        f"baseline {period.identity[:_SHOWN_IDENTITY_CHARACTERS]}… in {period.file}: "
        f"{period.clusters} clusters of {period.dimension} dimensions, "
        f"fitted {format_timestamp(period.created_ms)}, in force from {start} {end}"
        f"{' (now)' if period.in_force else ''}"
    )
    if period.uncalibrated:
        sizes = ", ".join(period.uncalibrated)
        yield (
            f"  measured first, for two weeks or 14 windows: how much windows of {sizes} vary without drift; "
            "until then only gross drift pages. To page at once declare a clean time as "
            f"warm_up, or fit on events with times and --window {period.uncalibrated[-1]}"
        )


def _warnings(periods: list[ScheduledPeriod], sizes: str) -> Iterator[str]:
    for period in periods:
        if period.from_ms is not None and period.in_force:
            yield (
                f"{period.file} is in force from {format_timestamp(period.from_ms)}, in the past: "
                f"if any replica did not list it by then, one window of each size ({sizes}) is incomplete"
            )
        # A changed file without `from` that is still in force cannot be detected: only its identity differs.
        since_ms = period.until_ms if period.from_ms is None else period.from_ms
        if since_ms is not None and period.created_ms > since_ms:
            bound = "ended" if period.from_ms is None else "began"
            yield (
                f"{period.file} was fitted after its time in force {bound} "
                f"({format_timestamp(since_ms)}): if the file was overwritten, restore the former one and "
                "list the new one under another name, with a future from"
            )
    for before, after in pairwise(periods):
        if before.identity == after.identity:
            yield (
                f"{before.file} and {after.file} contain the same baseline: if the first was "
                "overwritten, restore it, because its windows were counted with the former one; otherwise "
                "remove the second"
            )


def _warm_up_warnings(stream: ConfiguredStream, periods: Sequence[ScheduledPeriod]) -> Iterator[str]:
    """Yield a warning for each window size, and each later baseline, for which the warm-up does not count.

    A warm-up belongs to the baseline in force at its start, and counts whole windows of that baseline.
    """
    warm_up = stream.settings.warm_up
    if warm_up is None:
        return
    number, owner = max(
        (number, period)
        for number, period in enumerate(periods)
        if period.from_ms is None or period.from_ms <= warm_up.start
    )
    end_ms = warm_up.end if owner.until_ms is None else min(warm_up.end, owner.until_ms)
    enough: list[str] = []
    for size_ms in stream.spec.sizes_ms:
        first_ms, size = warm_up.start + -warm_up.start % size_ms, format_duration(size_ms)
        windows = max((end_ms - first_ms) // size_ms, 0)
        if windows >= MIN_WINDOWS:
            enough.append(size)
            continue
        judged = "provisionally, so that only gross drift pages"
        if stream.baselines[number].metadata.window_ms == size_ms:
            judged = "by how they varied when the baseline was fitted"
        elif enough:
            judged = (
                f"by how windows of {enough[-1]} vary, which is a lower bound (calibrated: false), if "
                f"{MIN_WINDOWS} of these hold events"
            )
        until_ms = first_ms + MIN_WINDOWS * size_ms
        remedy = f"let it last until {format_timestamp(until_ms)}"
        if owner.until_ms is not None and until_ms > owner.until_ms:
            remedy = "let it begin earlier, or with the next baseline"
        yield (
            f"warm_up has time for {windows} whole {'window' if windows == 1 else 'windows'} of {size} "
            f"against {owner.file}, and it takes {MIN_WINDOWS} with events to measure how they vary: "
            f"windows of {size} are judged {judged}; {remedy}, or remove the size"
        )
    for later in periods[number + 1 :]:
        assert later.from_ms is not None  # noqa: S101 - only the first has none
        since = format_timestamp(later.from_ms)
        yield (
            f"warm_up begins before {later.file} is in force ({since}), so windows against that baseline are "
            f"measured by themselves; once they are known to be clean, let warm_up begin at {since}"
        )


def memory_bytes(settings: Settings, specs: Iterable[StreamSpec]) -> dict[str, int]:
    """Return the most memory that the parts of a replica take, in bytes, by part.

    The replica has both roles and holds all shards, and producers send uncompressed records. A compressed
    batch counts with its compressed size in the client's queue, and nothing bounds its decompression.
    """
    fetched = fetched_bytes(settings.kafka)
    # Consumers read results, marks and dead letters.
    of_page = 3 * fetched_bytes({**settings.kafka, **BOUNDS}) + SUMMARY.itemsize * settings.page.max_windows
    return {
        "process": _PROCESS_BYTES,
        "fetch queues": _CONSUMERS * fetched,
        # A poll of events takes what the queue holds, which then fills again.
        "polls": fetched,
        # The buffer, and the producer's copy of it and of the poll that has filled it.
        "dead letters": 2 * MAX_BUFFERED_BYTES + fetched,
        # The tallies of COUNT and their encoded copy, and of WINDOWS the records and the producer's copy.
        # Encoded tallies take half of the bytes that the bound counts.
        "commits": 3 * MAX_COMMIT_BYTES,
        "windows": sum(map(_state_bytes, specs)),
        "page": settings.page.enabled * of_page,
    }


def _state_bytes(spec: StreamSpec) -> int:
    """Return the size of a stream's panes that are open to correction, each with examples and segments.

    Panes of a backlog come on top: their number depends on the events, and `pane_bytes` says what each takes.
    """
    panes = (max(spec.sizes_ms) + spec.disorder_ms + spec.lateness_ms) // spec.pane_ms + 1
    return panes * max(_pane_bytes(spec, scheduled) for scheduled in spec.baselines)


def _pane_bytes(spec: StreamSpec, scheduled: ScheduledBaseline) -> int:
    reference = scheduled.reference
    scheme, segments = spec.scheme(reference), len(reference.segments_by(spec.alarm.segment_keys))
    most = reference.centroids.clusters * MAX_EXAMPLES + MAX_FARTHEST
    examples = most * (_EXAMPLE_BYTES + spec.snippet_bytes)
    return tally_bytes(scheme.length) + examples + segments * tally_bytes(scheme.of_segments.length)


def tally_bytes(numbers: int) -> int:
    """Return the memory of one tally of a pane that waits, with what the state keeps beside it, bytes."""
    return _INTEGER_BYTES * numbers + _PANE_BYTES
