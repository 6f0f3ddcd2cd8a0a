"""The service's judgement of drawn vectors, without Kafka: scores of windows, and streams of windows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import Rows, Vectors
from tests.builders.baselines import fit
from tests.builders.clocks import HOUR_MS
from tests.builders.specs import ALARM, build_spec

from driftgauge.core.counting.tally import Tally, tally_batch
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.judge import Judgement, WindowJudge
from driftgauge.core.judging.scoring import Score, WindowScorer
from driftgauge.core.judging.verdict import Verdict, VerdictMemory
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.window import Window
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.streams import to_reference

CLUSTERS = 20
LEVEL = 0.01  # a window is found below it, by the p-value of all its statistics combined


def build_alarmed(reference: Reference, size_ms: int) -> StreamSpec:
    """Return a stream with windows of one size and a budget of one false page a year."""
    alarm = replace(ALARM, level=window_level(1.0, [size_ms]))
    return build_spec("bench", reference=reference, sizes_ms=(size_ms,), alarm=alarm)


def tally_each(reference: Reference, vectors: Vectors) -> NDArray[np.int64]:
    """Return the tally of each vector by itself, (N, length) int64, which windows add."""
    events = registry.place(reference, vectors, reference.centroids.assign(vectors))
    measured = registry.measure(reference, events)
    return tally_batch(np.arange(len(vectors)), len(vectors), registry.fields_of(reference), measured)


class Scored:
    """A baseline fitted on some vectors, and the scores of hourly windows against it.

    Attributes:
        reference: The baseline.
        spec: The stream that is scored.
    """

    def __init__(self, vectors: Vectors, seed: int, clusters: int = CLUSTERS, **choice: Any) -> None:
        self.reference = to_reference(fit(vectors, clusters=clusters, seed=seed, **choice))
        self.spec = build_alarmed(self.reference, HOUR_MS)
        calibration = Calibration.of_baseline(self.reference, HOUR_MS)
        self._scorer = WindowScorer(self.spec, self.reference, calibration, HOUR_MS)

    def scores(self, vectors: Vectors, windows: Sequence[Rows]) -> list[Score]:
        """Return the scores of windows, each the rows of its vectors."""
        used, inverse = np.unique(np.concatenate(windows), return_inverse=True)
        tallies, fields = tally_each(self.reference, vectors[used]), registry.fields_of(self.reference)
        ends = np.cumsum([len(rows) for rows in windows])[:-1]
        found = [
            self._scorer.score(Tally(tallies[rows].sum(axis=0), fields)) for rows in np.split(inverse, ends)
        ]
        return [score for score in found if score is not None]

    def share_found(self, vectors: Vectors, windows: Sequence[Rows], level: float = LEVEL) -> float:
        """Return the share of windows whose p-value is below a level."""
        return float(np.mean([score.p_value < level for score in self.scores(vectors, windows)]))


class Stream:
    """A stream that is judged window by window against a baseline."""

    def __init__(self, reference: Reference, tallies: NDArray[np.int64], size_ms: int, warm_up: int) -> None:
        """Begin a stream.

        Args:
            reference: The baseline.
            tallies: The tally of each vector, which windows add.
            size_ms: The size of the windows, ms.
            warm_up: The number of windows that are declared clean.
        """
        self._reference, self._tallies, self._size_ms = reference, tallies, size_ms
        spec = build_alarmed(reference, size_ms)
        interval = (0, warm_up * size_ms) if warm_up else None
        spec = replace(spec, min_events=5 * CLUSTERS, alarm=replace(spec.alarm, warm_up=interval))
        self._state = StreamState("bench")
        self._judge = WindowJudge(spec, self._state, lambda *_: ())
        self._number = 0

    def forget(self) -> None:
        """Forget the windows after the warm-up."""
        key = self._reference.key
        history = self._state.histories[self._size_ms, key]
        self._state.remember(self._size_ms, key, replace(history, memory=VerdictMemory()))

    def judge(self, rows: Rows) -> Judgement:
        """Judge the next window."""
        window = Window(self._size_ms, self._number * self._size_ms)
        self._number += 1
        tally = Tally(self._tallies[rows].sum(axis=0), registry.fields_of(self._reference))
        return self._judge.judge(window, tally, {}, self._reference, None, is_incomplete=False)

    def judge_until_drift(self, windows: Iterable[Rows]) -> float:
        """Return the number of windows until the verdict is drift; infinite if it never is."""
        verdicts = (self.judge(rows).verdict for rows in windows)
        return next((number for number, each in enumerate(verdicts, 1) if each is Verdict.DRIFT), math.inf)
