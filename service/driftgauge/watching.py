"""Configured streams and their baselines to what the core and the decoder are told."""

from collections.abc import Sequence
from dataclasses import dataclass

from driftgauge.baseline.artifact import Baseline, load
from driftgauge.config import Settings, StreamSettings
from driftgauge.core.pipeline import StreamSpec
from driftgauge.errors import BaselineError, ConfigError
from driftgauge.events.decoder import Decoder, StreamContract

__all__ = ["Watched", "build_decoder", "load_streams"]

# Cochran's rule for tests on counts: with fewer than five events expected in a cluster, the
# expansions behind the noise floor say little (Biometrics 10(4), 1954).
_EVENTS_PER_CLUSTER = 5


@dataclass(frozen=True, slots=True)
class Watched:
    """A configured stream with the baseline it is compared with."""

    spec: StreamSpec
    baseline: Baseline


def load_streams(settings: Settings) -> list[Watched]:
    """Load and check the baseline of every configured stream.

    Raises:
        ConfigError: Lists every baseline that cannot be used.
    """
    watched = []
    problems = []
    for stream in settings.streams:
        try:
            watched.append(Watched(*_load(stream)))
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
                dimension=stream.spec.centroids.dimension,
                model_version=stream.baseline.metadata.model_version,
                metric=stream.spec.centroids.metric,
            )
            for stream in streams
        }
    )


def _load(stream: StreamSettings) -> tuple[StreamSpec, Baseline]:
    baseline = load(stream.baseline)
    if baseline.metadata.stream != stream.name:
        message = (
            f"{stream.baseline} was fitted for stream {baseline.metadata.stream}; "
            f"fit one with --stream {stream.name}"
        )
        raise BaselineError(message)
    derived = _EVENTS_PER_CLUSTER * baseline.centroids.clusters
    spec = StreamSpec(
        name=stream.name,
        baseline_id=baseline.identity,
        centroids=baseline.centroids,
        baseline_counts=baseline.counts,
        sizes_ms=stream.windows,
        disorder_ms=stream.allowed_disorder,
        lateness_ms=stream.allowed_lateness,
        idle_ms=stream.idle_timeout,
        min_events=derived if stream.min_events is None else stream.min_events,
    )
    return spec, baseline
