"""Configured streams with their loaded baselines, as the core and the decoder need them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftgauge.baseline.artifact import Baseline, load
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.config import BaselineSettings, Settings, StreamSettings
from driftgauge.config.inputs import InputSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference
from driftgauge.core.spec import ScheduledBaseline, StreamSpec
from driftgauge.core.statistics.minor_shift import MINOR_DIRECTIONS
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError, refuse_problems
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.timestamps import LAST_MS
from driftgauge.records.descriptions import BaselineDescription, BaselineExamples
from driftgauge.telemetry.snapshot import WatchedStream

__all__ = [
    "ConfiguredStream",
    "build_contracts",
    "build_decoder",
    "describe_baselines",
    "load_available_streams",
    "load_streams",
    "to_reference",
    "watch",
]

_log = logging.getLogger(__name__)

# Cochran's rule for tests on counts: with fewer than five events expected in a cluster, the expansions
# behind the noise floor are inaccurate (Biometrics 10(4), 1954).
EVENTS_PER_CLUSTER = 5

# Of positions on a map, since each result holds those of all clusters.
_MAP_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ConfiguredStream:
    """A configured stream with its baselines.

    Attributes:
        spec: The specification for the core.
        baselines: The baselines of its schedule, oldest first.
        settings: The settings that both come from.
    """

    spec: StreamSpec
    baselines: tuple[Baseline, ...]
    settings: StreamSettings


def load_streams(settings: Settings) -> list[ConfiguredStream]:
    """Return the configured streams, with every baseline loaded and checked.

    Raises:
        ConfigError: Lists every baseline that cannot be used.
    """
    streams, problems = load_available_streams(settings)
    refuse_problems(
        "baselines", [f"streams.{name}: {problem}" for name, listed in problems.items() for problem in listed]
    )
    return streams


def load_available_streams(settings: Settings) -> tuple[list[ConfiguredStream], dict[str, list[str]]]:
    """Return the streams whose baselines can all be used, and the problems of the others by name."""
    streams: list[ConfiguredStream] = []
    problems: dict[str, list[str]] = {}
    if not settings.streams:
        return streams, problems
    level = settings.window_level
    for stream in settings.streams:
        baselines = []
        for listed in stream.baselines:
            try:
                baselines.append(_load(listed, stream))
            except BaselineError as error:
                problems.setdefault(stream.key, []).append(str(error))
        if len(baselines) == len(stream.baselines):
            streams.append(ConfiguredStream(_to_spec(stream, baselines, level), tuple(baselines), stream))
    return streams, problems


def build_decoder(
    streams: Iterable[ConfiguredStream],
    lead_ms: int,
    largest_bytes: int,
    inputs: Mapping[str, InputSettings],
    schemas: SchemaSource | None = None,
    *,
    age_ms: int = LAST_MS,
) -> Decoder:
    """Return the decoder that checks each event against the baseline in force at its time.

    Args:
        streams: The streams.
        lead_ms: How far an event's time may be ahead of its record and of the reader's clock.
        largest_bytes: The largest value of a record that is read.
        inputs: The settings of topics whose records are not in the service's own contract.
        schemas: Where schemas come from, for encodings that need them.
        age_ms: How far an event's time may be behind its record; see `Decoder`.

    Raises:
        ConfigError: An encoding lacks its library, or the source of schemas.
    """
    return Decoder(
        build_contracts(streams),
        lead_ms=lead_ms,
        age_ms=age_ms,
        readers=build_readers(inputs, schemas),
        largest_bytes=largest_bytes,
    )


def build_contracts(streams: Iterable[ConfiguredStream]) -> list[BaselineContract]:
    """Return the requirements of each baseline of each stream."""
    return [
        BaselineContract(
            stream=stream.spec.name,
            baseline=scheduled.reference.key,
            dimension=baseline.centroids.dimension,
            model_version=baseline.metadata.model_version,
            metric=baseline.centroids.metric,
            from_ms=scheduled.from_ms or 0,
            numbers=tuple(each.name for each in stream.spec.numbers),
        )
        for stream in streams
        for scheduled, baseline in zip(stream.spec.baselines, stream.baselines, strict=True)
    ]


def describe_baselines(streams: Iterable[ConfiguredStream]) -> dict[str, BaselineDescription]:
    """Return the description of every baseline of the streams' schedules, by the baseline's identity."""
    return {
        baseline.identity: BaselineDescription(
            baseline.metadata.created_ms,
            baseline.metadata.model_version,
            baseline.names,
            tuple((x, y) for x, y in baseline.positions.round(_MAP_DIGITS).tolist()),
            tuple(_to_examples(each, stream.settings) for each in baseline.examples),
            _to_examples(baseline.farthest or ExampleDescription(), stream.settings),
        )
        for stream in streams
        for baseline in stream.baselines
    }


def _to_examples(described: ExampleDescription, settings: StreamSettings) -> BaselineExamples:
    # What the baseline holds goes into results only if the stream's own texts do.
    return BaselineExamples(described.example_ids, described.example_texts if settings.snippet_bytes else ())


def to_reference(baseline: Baseline) -> Reference:
    """Return the part of a baseline that counting and scoring need."""
    overdispersion, metadata, groups = baseline.overdispersion, baseline.metadata, None
    if overdispersion is not None and metadata.window_ms is None:
        groups, independent = overdispersion, Overdispersion.independent(len(baseline.variances))
        if metadata.mixed_windows:
            # The stream's events are taken to be of as many groups as the baseline's. The windows share their
            # offset, whose variance is added to the baseline's.
            counted = metadata.reference_count / metadata.mean_count
            both = groups.plus(independent, (1 + counted, -counted), (2, -1))
            overdispersion = replace(independent, baseline=both)
        else:
            overdispersion = replace(groups, kurtosis=metadata.mean_count / groups.windows)
    return Reference(
        baseline_id=baseline.identity,
        centroids=baseline.centroids,
        counts=baseline.counts,
        mean_count=metadata.mean_count,
        covariance_count=metadata.fitted_count,
        radii=baseline.radii,
        projection=Projection(
            baseline.mean,
            baseline.components,
            baseline.variances,
            float(baseline.residual[0]),
            baseline.arrays.get(MINOR_DIRECTIONS, np.zeros((0, 1), np.float32)),
        ),
        cluster_means=baseline.cluster_means,
        mean=np.zeros(len(baseline.variances)),
        arrays=baseline.arrays,
        overdispersion=overdispersion,
        overdispersion_ms=metadata.window_ms,
        segments=baseline.segments,
        groups=groups,
        numbers=baseline.numbers,
    )


def watch(stream: ConfiguredStream) -> WatchedStream:
    """Return the stream as the telemetry exports it."""
    settings = stream.settings
    return WatchedStream(stream.spec, describe_baselines([stream]), settings.labels, settings.overdue_ms)


def _load(listed: BaselineSettings, stream: StreamSettings) -> Baseline:
    """Return a listed baseline of a stream.

    Raises:
        BaselineError: It cannot be read, or does not fit the stream.
    """
    baseline = load(listed.file)
    if baseline.metadata.stream not in ByStream({stream.key: None}):
        name = stream.name or f"and a name that {stream.match} matches"
        message = (
            f"{listed.file} was fitted for stream {baseline.metadata.stream}; fit one with --stream {name}"
        )
        raise BaselineError(message)
    if baseline.untested:
        _log.warning(
            "an earlier version fitted the baseline; windows are not tested for what it lacks",
            extra={
                "stream": stream.key,
                "baseline": str(listed.file),
                "statistics": ", ".join(baseline.untested),
                "remedy": "fit the baseline again",
            },
        )
    for name, each in stream.numbers.items():
        fitted = baseline.numbers.get(name)
        if fitted is not None and (fitted.number.low, fitted.number.high) != tuple(each.range):
            low, high = each.range
            message = (
                f"{listed.file} has {name} from {fitted.number.low:g} to {fitted.number.high:g}, and the "
                f"stream from {low:g} to {high:g}; fit it again with --number {name}={low:g}:{high:g}, which "
                "is no other baseline"
            )
            raise BaselineError(message)
    compared = {name for name, each in stream.numbers.items() if each.alert_change is not None}
    if uncounted := sorted(compared - baseline.numbers.keys()):
        message = (
            f"{listed.file} does not know {', '.join(uncounted)}, of which alert_change needs the baseline's "
            f"mean; fit it again with --number {uncounted[0]}, which is no other baseline"
        )
        raise BaselineError(message)
    unknown = set(stream.segments) - {segment.key for segment in baseline.segments}
    if unknown:
        message = (
            f"{listed.file} has no segments by {', '.join(sorted(unknown))}; fit one with "
            f"--segment {min(unknown)}=VALUE,…, or leave them out of the stream's segments"
        )
        raise BaselineError(message)
    return baseline


def _to_spec(stream: StreamSettings, baselines: Sequence[Baseline], level: float) -> StreamSpec:
    """Return the specification of a stream; `level` is the significance level of one window."""
    default_min_events = EVENTS_PER_CLUSTER * max(baseline.centroids.clusters for baseline in baselines)
    return StreamSpec(
        name=stream.key,
        baselines=tuple(
            ScheduledBaseline(to_reference(baseline), listed.from_ms)
            for listed, baseline in zip(stream.baselines, baselines, strict=True)
        ),
        sizes_ms=stream.windows,
        disorder_ms=stream.allowed_disorder,
        lateness_ms=stream.allowed_lateness,
        idle_ms=stream.idle_timeout,
        incomplete_ms=stream.incomplete_after,
        give_up_ms=stream.give_up_after,
        min_events=default_min_events if stream.min_events is None else stream.min_events,
        alarm=stream.alarm(level),
        snippet_bytes=stream.snippet_bytes,
        most=stream.most,
        numbers=stream.numbers_of_events,
    )
