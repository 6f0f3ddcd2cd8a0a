"""Results, histories and examples as the changelog keeps them: JSON, for they are written once a window."""

import base64
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.events.contract import Finite, VerdictName, WindowRecord
from driftgauge.events.results import from_record, to_record
from driftgauge.records.model import RecordModel
from driftgauge.records.refusals import demand

__all__ = [
    "read_examples",
    "read_history",
    "read_result",
    "write_examples",
    "write_history",
    "write_result",
]

_MAX_WINDOWS = 2**31
# Far more than any windows leave behind, and its square is still a double.
_MAX_LEARNED = 1e100

_Count = Annotated[int, Field(ge=0)]
_NotNegative = Annotated[Finite, Field(ge=0)]
_Recent = Annotated[tuple[bool, ...], Field(max_length=2)]


class _Segment(RecordModel):
    key: str
    value: str


def _each_once(segments: tuple[_Segment, ...]) -> tuple[_Segment, ...]:
    demand(len({(each.key, each.value) for each in segments}) == len(segments), "a segment is there twice")
    return segments


class _SegmentMemory(_Segment):
    recent: _Recent


class _VerdictMemory(RecordModel):
    recent: _Recent
    slow: _NotNegative
    segments: Annotated[tuple[_SegmentMemory, ...], AfterValidator(_each_once)]

    @classmethod
    def of(cls, memory: VerdictMemory) -> "_VerdictMemory":
        segments = tuple(
            _SegmentMemory(key=key, value=value, recent=recent)
            for (key, value), recent in memory.segments.items()
        )
        return cls(recent=memory.recent, slow=memory.slow_drift, segments=segments)

    def read(self) -> VerdictMemory:
        segments = {(segment.key, segment.value): segment.recent for segment in self.segments}
        return VerdictMemory(self.recent, self.slow, segments)


class _Result(RecordModel):
    result: WindowRecord
    baseline_counts: tuple[_Count, ...]
    published_ms: int
    superseded: VerdictName | None
    slow_limit: Finite
    recall: _VerdictMemory | None


class _Clean(RecordModel):
    windows: Annotated[int, Field(ge=0, le=_MAX_WINDOWS)]
    chi_squared: Annotated[_NotNegative, Field(le=_MAX_LEARNED)]
    products: str  # base64 of (r, r) little-endian float64; empty without windows

    @classmethod
    def of(cls, clean: OverdispersionEstimator) -> "_Clean":
        products = base64.b64encode(clean.products.astype("<f8").tobytes()).decode()
        return cls(
            windows=clean.windows,
            chi_squared=clean.chi_squared,
            products=products if clean.windows else "",
        )

    def read(self, components: int) -> OverdispersionEstimator:
        if not self.windows:
            demand(not self.products and not self.chi_squared, "something was learned from no windows")
            return OverdispersionEstimator.empty(components)
        values = np.frombuffer(base64.b64decode(self.products, validate=True), "<f8")
        products = values.reshape(components, components).astype(np.float64)
        demand(_is_sum_of_squares(products), "it is no sum of outer products of shifts")
        return OverdispersionEstimator(self.windows, self.chi_squared, products)


class _SegmentClean(_Segment):
    clean: _Clean


class _History(RecordModel):
    baseline: str
    end_ms: int
    recall: _VerdictMemory
    warm_up: tuple[int, int] | None
    # A matrix for each segment is made of this number before anything else is known.
    components: Annotated[int, Field(ge=1, le=MAX_COMPONENTS)]
    clean: _Clean
    segments: Annotated[tuple[_SegmentClean, ...], AfterValidator(_each_once)]


_EXAMPLES = TypeAdapter(tuple[tuple[int, int, str], ...], config=ConfigDict(strict=True))


def write_result(result: WindowResult) -> bytes:
    """Return a result with all that the next revision, and the gauges, need of it."""
    kept = _Result(
        result=to_record(result),
        baseline_counts=tuple(result.baseline_counts.tolist()),
        published_ms=result.published_ms,
        superseded=None if result.superseded is None else result.superseded.value,
        slow_limit=result.slow_drift_limit,
        recall=None if result.memory is None else _VerdictMemory.of(result.memory),
    )
    return kept.model_dump_json().encode()


def read_result(content: bytes) -> WindowResult:
    """Return the result that was written; ValueError where it is none."""
    kept = _Result.model_validate_json(content)
    counts = [cluster.count for cluster in kept.result.clusters]
    demand(len(kept.baseline_counts) == len(counts), "the baseline has other clusters")
    demand(any(kept.baseline_counts) and any(counts), "there are no events to have shares")
    return from_record(
        kept.result,
        baseline_counts=kept.baseline_counts,
        published_ms=kept.published_ms,
        superseded=None if kept.superseded is None else Verdict(kept.superseded),
        slow_drift_limit=kept.slow_limit,
        memory=None if kept.recall is None else kept.recall.read(),
    )


def write_history(history: VerdictHistory) -> bytes:
    """Return a history."""
    kept = _History(
        baseline=history.baseline_id,
        end_ms=history.end_ms,
        recall=_VerdictMemory.of(history.memory),
        warm_up=history.warm_up,
        components=len(history.clean.products),
        clean=_Clean.of(history.clean),
        segments=tuple(
            _SegmentClean(key=key, value=value, clean=_Clean.of(clean))
            for (key, value), clean in history.segments.items()
        ),
    )
    return kept.model_dump_json().encode()


def read_history(content: bytes) -> VerdictHistory:
    """Return the history that was written; ValueError where it is none."""
    kept = _History.model_validate_json(content)
    return VerdictHistory(
        kept.baseline,
        kept.end_ms,
        kept.recall.read(),
        kept.warm_up,
        kept.clean.read(kept.components),
        {(each.key, each.value): each.clean.read(kept.components) for each in kept.segments},
    )


def write_examples(examples: tuple[Example, ...]) -> bytes:
    """Return examples."""
    plain = tuple((example.cluster, example.rank, example.event_id) for example in examples)
    return _EXAMPLES.dump_json(plain)


def read_examples(content: bytes) -> tuple[Example, ...]:
    """Return the examples that were written; ValueError where they are none."""
    return tuple(Example(*example) for example in _EXAMPLES.validate_json(content))


def _is_sum_of_squares(products: NDArray[np.float64]) -> bool:
    """Tell whether a matrix has what a sum of outer products x x^T always has."""
    # A comparison with NaN is false, so this refuses what is not finite as well.
    is_bounded = (np.abs(products) <= _MAX_LEARNED).all()
    return bool(is_bounded and (products == products.T).all() and (np.diag(products) >= 0).all())
