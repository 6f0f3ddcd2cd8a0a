"""Configured streams and their baselines to what the core and the decoder are told."""

from collections.abc import Sequence
from dataclasses import dataclass

from driftgauge.baseline.artifact import Baseline, load, parse, serialize
from driftgauge.config import Settings, StreamSettings
from driftgauge.core.budget import window_level
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference
from driftgauge.core.spec import Alarm, StreamSpec
from driftgauge.core.table import Table
from driftgauge.errors import BaselineError, ConfigError, StateError
from driftgauge.events.decoder import Decoder, StreamContract

__all__ = ["References", "Watched", "build_decoder", "load_streams", "to_reference"]

# Cochran's rule for tests on counts: with fewer than five events expected in a cluster, the
# expansions behind the noise floor say little (Biometrics 10(4), 1954).
_EVENTS_PER_CLUSTER = 5


@dataclass(frozen=True, slots=True)
class Watched:
    """A configured stream with the baseline it is compared with."""

    spec: StreamSpec
    baseline: Baseline
    settings: StreamSettings


class References:
    """Finds the baselines that streams are counted against: the configured ones, and those in the table.

    While a new baseline is rolled out, some replicas must count against one that their own
    configuration does not name.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._read: dict[str, Reference] = {}

    def find(self, spec: StreamSpec, key: str) -> Reference | None:
        """Return a baseline by its key; None where it is neither configured nor kept.

        Raises:
            StateError: What is kept is not a baseline.
        """
        if key == spec.reference.key:
            return spec.reference
        if key not in self._read:
            content = self._table.baseline(key)
            if content is None:
                return None
            try:
                self._read[key] = to_reference(parse(content))
            except BaselineError as error:
                message = (
                    f"the state keeps a baseline {key} that cannot be used ({error}); delete the group "
                    "and its state topics to begin anew"
                )
                raise StateError(message) from error
        return self._read[key]


def load_streams(settings: Settings) -> list[Watched]:
    """Load and check the baseline of every configured stream.

    Raises:
        ConfigError: Lists every baseline that cannot be used.
    """
    watched = []
    problems = []
    sizes_ms = [size_ms for stream in settings.streams for size_ms in stream.windows]
    level = window_level(settings.alarms.false_pages_per_year, sizes_ms)
    for stream in settings.streams:
        try:
            watched.append(Watched(*_load(stream, level), stream))
        except BaselineError as error:
            problems.append(f"streams.{stream.name}.baseline: {error}")
    if problems:
        message = "baselines cannot be used:"
        raise ConfigError(message, problems)
    return watched


def build_decoder(streams: Sequence[Watched]) -> Decoder:
    """Return the decoder that knows what each stream's events must look like."""
    return Decoder(
        {
            stream.spec.name: StreamContract(
                dimension=stream.baseline.centroids.dimension,
                model_version=stream.baseline.metadata.model_version,
                metric=stream.baseline.centroids.metric,
            )
            for stream in streams
        }
    )


def to_reference(baseline: Baseline) -> Reference:
    """Return a baseline as far as counting and comparing need it."""
    return Reference(
        baseline_id=baseline.identity,
        centroids=baseline.centroids,
        counts=baseline.counts,
        radii=baseline.radii,
        projection=Projection(baseline.mean, baseline.components, baseline.variances),
        dependence=baseline.dependence,
        dependence_ms=baseline.metadata.window_ms,
        segments=baseline.segments,
        content=serialize(baseline),
    )


def _load(stream: StreamSettings, level: float) -> tuple[StreamSpec, Baseline]:
    baseline = load(stream.baseline)
    if baseline.metadata.stream != stream.name:
        message = (
            f"{stream.baseline} was fitted for stream {baseline.metadata.stream}; "
            f"fit one with --stream {stream.name}"
        )
        raise BaselineError(message)
    unknown = set(stream.segments) - {segment.key for segment in baseline.segments}
    if unknown:
        message = (
            f"{stream.baseline} knows no segments by {', '.join(sorted(unknown))}; fit one with "
            f"--segment {min(unknown)}=VALUE,…, or leave them out of the stream's segments"
        )
        raise BaselineError(message)
    derived = _EVENTS_PER_CLUSTER * baseline.centroids.clusters
    spec = StreamSpec(
        name=stream.name,
        reference=to_reference(baseline),
        sizes_ms=stream.windows,
        disorder_ms=stream.allowed_disorder,
        lateness_ms=stream.allowed_lateness,
        idle_ms=stream.idle_timeout,
        incomplete_ms=stream.incomplete_after,
        min_events=derived if stream.min_events is None else stream.min_events,
        alarm=Alarm(
            level=level,
            js_divergence=stream.smallest_drift.js_divergence,
            mean_shift=stream.smallest_drift.mean_shift,
            warm_up=None if stream.warm_up is None else (stream.warm_up.start, stream.warm_up.end),
            segment_keys=stream.segments,
        ),
    )
    return spec, baseline
