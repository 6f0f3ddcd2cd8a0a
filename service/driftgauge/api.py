"""The public Python interface: other programs import these names, and from this module only."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, ClusterDescription
from driftgauge.baseline.artifact import load as load_baseline
from driftgauge.baseline.artifact import save as save_baseline
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.baseline.segments import Members
from driftgauge.baseline.windows import Traffic
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.examples import FarExample
from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.counting.tally import Tally, tally_batch
from driftgauge.core.judging.calibration import Calibration, CalibrationSummary, Measuring, Source
from driftgauge.core.judging.number_judging import NumberMemory, NumberResult
from driftgauge.core.judging.scoring import Score, SegmentResult, WindowScorer
from driftgauge.core.judging.verdict import SlowDrift, Verdict, VerdictMemory
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE, Divergence
from driftgauge.core.statistics.duplicates import DUPLICATES, Duplicates
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT, MeanShift
from driftgauge.core.statistics.novelty import NOVELTY, Novelty
from driftgauge.core.statistics.number_change import Estimate, NumberChange
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.relations import RELATIONS, RelationChange, Relations
from driftgauge.core.statistics.spread import SPREAD, Spread, SpreadChange
from driftgauge.core.statistics.statistic import Findings
from driftgauge.core.window import Window
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import BaselineError, ConfigError, DriftgaugeError, InputError
from driftgauge.events.decoder import describe_non_finite
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import EventError, Reason, Rejection
from driftgauge.events.schemas import WaitingSource
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.recorded.record_files import choose_topic
from driftgauge.recorded.replay import Replay
from driftgauge.streams import load_streams, to_reference

__all__ = [
    "DIVERGENCE",
    "DUPLICATES",
    "MEAN_SHIFT",
    "NOVELTY",
    "RELATIONS",
    "SPREAD",
    "Baseline",
    "BaselineError",
    "BaselineMetadata",
    "CalibrationSummary",
    "Centroids",
    "ClusterDescription",
    "ConfigError",
    "DistanceMetric",
    "Divergence",
    "DriftgaugeError",
    "Duplicates",
    "Estimate",
    "ExampleDescription",
    "FarExample",
    "Findings",
    "InputError",
    "MeanShift",
    "Measuring",
    "Members",
    "Novelty",
    "Number",
    "NumberChange",
    "NumberMemory",
    "NumberResult",
    "NumberTally",
    "Overdispersion",
    "ParsedEvent",
    "Partition",
    "Provenance",
    "Reason",
    "Rejection",
    "RelationChange",
    "Relations",
    "Replay",
    "Score",
    "Segment",
    "SegmentReference",
    "SegmentResult",
    "SlowDrift",
    "Source",
    "Spread",
    "SpreadChange",
    "Traffic",
    "Verdict",
    "VerdictMemory",
    "Window",
    "WindowResult",
    "build_replay",
    "fit_baseline",
    "load_baseline",
    "parse_event",
    "save_baseline",
    "score_vectors",
]

# The level decides verdicts, of which a score has none, and what is detectable.
_LEVEL = 0.01


_OWN = build_own_reader()


def score_vectors(baseline: Baseline, vectors: NDArray[np.float32], *, window_ms: int | None = None) -> Score:
    """Return the drift of one window's vectors from a baseline: divergence, mean shift and p-values.

    The numbers are those of the service for a window with these vectors and without a warm-up, but for
    `detectable`, which is that of a level of 0.01: the service's depends on its alarm budget. A verdict also
    needs the windows before; see `build_replay`.

    Args:
        baseline: The baseline.
        vectors: (n, d) float32, all vectors of the window, n at least 1. The service scores windows of at
            least five events per cluster; fewer events have little power.
        window_ms: The window's length in milliseconds. The score is `calibrated` if the baseline's
            overdispersion was measured on windows of this length.

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
    fields, measured = (
        registry.fields_of(reference),
        registry.measure(reference, registry.place(reference, rows, clusters)),
    )
    (values,) = tally_batch(np.zeros(len(rows), dtype=np.intp), 1, fields, measured)
    scorer = _build_scorer(baseline, reference, window_ms)
    # One event is enough by the scorer's specification, so the score is never missing.
    return cast("Score", scorer.score(Tally(values, fields)))


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event, checked by the contract alone.

    Attributes:
        stream: The stream's name.
        time_ms: Event time in milliseconds since the epoch, UTC.
        vector: (d,) float32, finite.
        model_version: The model's version; None if the event has none.
        segments: The event's segments by key; empty if it has none.
        event_id: The producer's id of the event; None if it has none.
    """

    stream: str
    time_ms: int
    vector: NDArray[np.float32]
    model_version: str | None
    segments: Mapping[str, str]
    event_id: str | None


def parse_event(raw: bytes) -> ParsedEvent | Rejection:
    """Return the event in a raw record, checked by the contract alone, or its rejection as row 0."""
    record = StoredRecord(raw)
    try:
        events = _OWN.read_values([0], [record], [_OWN.decode(record)])
    except EventError as error:
        return Rejection(0, error.reason, error.detail, None)
    event = {name: entries[0] for name, entries in events.items()}
    vector = event["number"].to_float32(event["vector"])
    if not np.isfinite(vector).all():
        return Rejection(0, Reason.NON_FINITE, describe_non_finite(vector), None)
    return ParsedEvent(
        event["stream"],
        event["time_ms"],
        vector,
        event["model_version"],
        event["segments"] or {},
        event["event_id"],
    )


def build_replay(config: Path, environ: Mapping[str, str] | None = None, topic: str | None = None) -> Replay:
    """Return the replay of recorded files by a configuration file, ready to run.

    Args:
        config: The YAML file.
        environ: The variables that override the file, such as `os.environ`; None: no variables.
        topic: The events topic whose records the files hold; None for the only one.

    Raises:
        ConfigError: Lists the problems of keys, or else those of baselines.
    """
    settings = load_settings(config, {} if environ is None else environ, connects=False)
    topic = choose_topic(settings, topic)
    inputs = settings.inputs_of(topic).values()
    with ExitStack() as stack:
        registry = stack.enter_context(open_schema_registry(settings, inputs, SYSTEM_CLOCK))
        replay = Replay(
            load_streams(settings),
            settings,
            topic=topic,
            clock=SYSTEM_CLOCK,
            refusals=Refusals(),
            schemas=None if registry is None else WaitingSource(registry, SYSTEM_CLOCK),
        )
        # The registry is asked during each run of the replay.
        finalize(replay, stack.pop_all().close)
    return replay


def _build_scorer(baseline: Baseline, reference: Reference, window_ms: int | None) -> WindowScorer:
    """Return the scorer of single windows against a baseline."""
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
        alarm=Alarm(_LEVEL, {each.name: each.smallest for each in registry.STATISTICS}),
    )
    size_ms = window_ms or 0
    return WindowScorer(spec, reference, Calibration.of_baseline(reference, size_ms), size_ms)
