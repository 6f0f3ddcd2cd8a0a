"""The public Python interface: other programs import these names, and from this module only."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.artifact import load as load_baseline
from driftgauge.baseline.artifact import save as save_baseline
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.config.stream import SmallestDrift
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.tally import Tally, tally_batch
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.windows.result import Score, Verdict, WindowResult
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.errors import DriftgaugeError, InputError
from driftgauge.events.decoder import ParsedEvent, parse_event
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.replay import Replay
from driftgauge.streams import load_streams, to_reference

__all__ = [
    "Baseline",
    "DistanceMetric",
    "DriftgaugeError",
    "ParsedEvent",
    "Reason",
    "Rejection",
    "Replay",
    "Score",
    "Verdict",
    "WindowResult",
    "build_replay",
    "fit_baseline",
    "load_baseline",
    "parse_event",
    "save_baseline",
    "score_vectors",
]

# The level decides verdicts only, and a score has none.
_LEVEL = 0.01


def score_vectors(baseline: Baseline, vectors: NDArray[np.float32]) -> Score:
    """Return the score of one window's vectors against a baseline, as the service computes it.

    `calibrated` is False: the length of the window is not known. Few vectors make a score of little power;
    the service asks for five per cluster.

    Args:
        baseline: The baseline.
        vectors: (n, d) float32, n at least 1.

    Raises:
        InputError: The vectors have another shape, or a vector has no nearest centroid in float32.
    """
    dimension = baseline.centroids.dimension
    if vectors.ndim != 2 or vectors.shape[1] != dimension or not len(vectors):  # noqa: PLR2004 - a matrix
        message = f"the vectors have the shape {vectors.shape}; give at least one row of {dimension} numbers"
        raise InputError(message)
    rows = np.asarray(vectors, dtype=np.float32)
    reference = to_reference(baseline)
    clusters = reference.centroids.assign(rows)
    if (clusters < 0).any():
        row = int((clusters < 0).argmax())
        message = f"row {row} of the vectors is not finite, or too large for float32; leave such rows out"
        raise InputError(message)
    (values,) = tally_batch(
        np.zeros(len(rows), dtype=np.intp),
        1,
        reference.centroids.clusters,
        cluster=clusters,
        outliers=reference.are_outliers(rows, clusters),
        coordinates=reference.projection.coordinates(rows),
    )
    smallest = SmallestDrift()
    spec = StreamSpec(
        name=baseline.metadata.stream,
        baselines=(ScheduledBaseline(reference),),
        sizes_ms=(1,),
        disorder_ms=0,
        lateness_ms=0,
        idle_ms=0,
        incomplete_ms=0,
        give_up_ms=0,
        min_events=1,
        alarm=Alarm(_LEVEL, smallest.js_divergence, smallest.mean_shift),
    )
    scorer = WindowScorer(spec, reference, reference.overdispersion, calibrated=False)
    # One event is enough by this specification, so the score is never missing.
    return cast("Score", scorer.score(Tally(values, reference.centroids.clusters)))


def build_replay(config: Path, environ: Mapping[str, str]) -> Replay:
    """Return the replay of recorded files by a configuration file, ready to run.

    Args:
        config: The YAML file.
        environ: The variables that override the file, such as `os.environ`; {} for none.

    Raises:
        ConfigError: Lists every problem of the configuration or of its baselines.
    """
    settings = load_settings(config, environ)
    return Replay(load_streams(settings), lead_ms=settings.allowed_lead, clock_ms=SYSTEM_CLOCK.wall_ms)
