"""The codec of the changelog's window results, verdict histories and examples: JSON, once per window."""

import base64
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.overdispersion import DISTANCES, OverdispersionEstimator
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.events.results import from_record, to_record
from driftgauge.events.window_record import Finite, VerdictName, WindowRecord
from driftgauge.records.model import RecordModel
from driftgauge.records.record_errors import require

__all__ = [
    "decode_examples",
    "decode_history",
    "decode_result",
    "encode_examples",
    "encode_history",
    "encode_result",
]

_MAX_WINDOWS = 2**31
# No history reaches this sum, and its square is still a finite double.
_MAX_SUM = 1e100

_Count = Annotated[int, Field(ge=0)]
_NotNegative = Annotated[Finite, Field(ge=0)]
_Recent = Annotated[tuple[bool, ...], Field(max_length=2)]


class _Segment(RecordModel):
    key: str
    value: str


def _require_distinct(segments: tuple[_Segment, ...]) -> tuple[_Segment, ...]:
    require(len({(each.key, each.value) for each in segments}) == len(segments), "a segment occurs twice")
    return segments


class _SegmentMemory(_Segment):
    recent: _Recent


class _VerdictMemory(RecordModel):
    recent: _Recent
    slow: _NotNegative
    segments: Annotated[tuple[_SegmentMemory, ...], AfterValidator(_require_distinct)]

    @classmethod
    def of(cls, memory: VerdictMemory) -> "_VerdictMemory":
        segments = tuple(
            _SegmentMemory(key=key, value=value, recent=recent)
            for (key, value), recent in memory.segments.items()
        )
        return cls(recent=memory.recent, slow=memory.slow_drift, segments=segments)

    def to_memory(self) -> VerdictMemory:
        segments = {(segment.key, segment.value): segment.recent for segment in self.segments}
        return VerdictMemory(self.recent, self.slow, segments)


class _Result(RecordModel):
    result: WindowRecord
    baseline_counts: tuple[_Count, ...]
    published_ms: int
    superseded: VerdictName | None
    slow_limit: Finite
    recall: _VerdictMemory | None


class _Estimator(RecordModel):
    windows: Annotated[int, Field(ge=0, le=_MAX_WINDOWS)]
    chi_squared: Annotated[_NotNegative, Field(le=_MAX_SUM)]
    products: str  # base64 of (r, r) little-endian float64; empty without windows
    # Fewer before all of them were tested.
    distances: Annotated[
        tuple[Annotated[_NotNegative, Field(le=_MAX_SUM)], ...], Field(max_length=DISTANCES)
    ] = ()

    @classmethod
    def of(cls, clean: OverdispersionEstimator) -> "_Estimator":
        products = base64.b64encode(clean.products.astype("<f8").tobytes()).decode()
        return cls(
            windows=clean.windows,
            chi_squared=clean.chi_squared,
            products=products if clean.windows else "",
            distances=tuple(clean.distances.tolist()),
        )

    def to_estimator(self, components: int) -> OverdispersionEstimator:
        if not self.windows:
            has_sums = self.products or self.chi_squared or any(self.distances)
            require(not has_sums, "there are sums without windows")
            return OverdispersionEstimator.empty(components)
        values = np.frombuffer(base64.b64decode(self.products, validate=True), "<f8")
        products = values.reshape(components, components).astype(np.float64)
        require(_is_sum_of_squares(products), "the matrix is no sum of outer products of shifts")
        if len(self.distances) < DISTANCES:
            # The warm-up does not calibrate all tests; it counts as not seen.
            return OverdispersionEstimator.empty(components)
        return OverdispersionEstimator(self.windows, self.chi_squared, products, np.array(self.distances))


class _SegmentEstimator(_Segment):
    clean: _Estimator


class _History(RecordModel):
    baseline: str
    end_ms: int
    recall: _VerdictMemory
    warm_up: tuple[int, int] | None
    # This number sizes a matrix per segment before anything else is checked, so it is bounded.
    components: Annotated[int, Field(ge=1, le=MAX_COMPONENTS)]
    clean: _Estimator
    segments: Annotated[tuple[_SegmentEstimator, ...], AfterValidator(_require_distinct)]


# The baseline holds these, so that the changelog need not.
_OF_BASELINE: dict[str, Any] = {
    "result": {
        "baseline_created": True,
        "clusters": {"__all__": {"name", "position"}},
        "examples": {"__all__": {"baseline_event_ids"}},
    }
}

_EXAMPLES = TypeAdapter(tuple[tuple[int, int, str], ...], config=ConfigDict(strict=True))


def encode_result(result: WindowResult) -> bytes:
    """Return the bytes of a result, with the fields that its next revision and the gauges need."""
    model = _Result(
        result=to_record(result, None),
        baseline_counts=tuple(result.baseline_counts.tolist()),
        published_ms=result.published_ms,
        superseded=None if result.superseded is None else result.superseded.value,
        slow_limit=result.slow_drift_limit,
        recall=None if result.memory is None else _VerdictMemory.of(result.memory),
    )
    return model.model_dump_json(exclude=_OF_BASELINE).encode()


def decode_result(content: bytes) -> WindowResult:
    """Return the window result; ValueError if the content is not one."""
    model = _Result.model_validate_json(content)
    counts = [cluster.count for cluster in model.result.clusters]
    require(len(model.baseline_counts) == len(counts), "the number of clusters differs from the baseline's")
    require(any(model.baseline_counts) and any(counts), "the window or the baseline has no events")
    return from_record(
        model.result,
        baseline_counts=model.baseline_counts,
        published_ms=model.published_ms,
        superseded=None if model.superseded is None else Verdict(model.superseded),
        slow_drift_limit=model.slow_limit,
        memory=None if model.recall is None else model.recall.to_memory(),
    )


def encode_history(history: VerdictHistory) -> bytes:
    """Return the bytes of a verdict history."""
    model = _History(
        baseline=history.baseline_id,
        end_ms=history.end_ms,
        recall=_VerdictMemory.of(history.memory),
        warm_up=history.warm_up,
        components=len(history.clean.products),
        clean=_Estimator.of(history.clean),
        segments=tuple(
            _SegmentEstimator(key=key, value=value, clean=_Estimator.of(clean))
            for (key, value), clean in history.segments.items()
        ),
    )
    return model.model_dump_json().encode()


def decode_history(content: bytes) -> VerdictHistory:
    """Return the verdict history; ValueError if the content is not one."""
    model = _History.model_validate_json(content)
    return VerdictHistory(
        model.baseline,
        model.end_ms,
        model.recall.to_memory(),
        model.warm_up,
        model.clean.to_estimator(model.components),
        {(each.key, each.value): each.clean.to_estimator(model.components) for each in model.segments},
    )


def encode_examples(examples: tuple[Example, ...]) -> bytes:
    """Return the bytes of examples."""
    plain = tuple((example.cluster, example.rank, example.event_id) for example in examples)
    return _EXAMPLES.dump_json(plain)


def decode_examples(content: bytes) -> tuple[Example, ...]:
    """Return the examples; ValueError if the content holds none."""
    return tuple(Example(*example) for example in _EXAMPLES.validate_json(content))


def _is_sum_of_squares(products: NDArray[np.float64]) -> bool:
    """Return whether a matrix is symmetric with a diagonal of at least 0, as a sum of products x x^T is."""
    # Comparisons with NaN are false, so this also refuses a matrix that is not finite.
    is_bounded = (np.abs(products) <= _MAX_SUM).all()
    return bool(is_bounded and (products == products.T).all() and (np.diag(products) >= 0).all())
