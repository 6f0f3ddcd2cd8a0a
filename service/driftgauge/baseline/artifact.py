"""A frozen baseline and the safetensors file that holds it; `schemas/baseline.md` describes both.

This module does not import scikit-learn, because the service loads baselines but never fits them.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from driftgauge.baseline.arrays import LAYOUT, SEGMENTS, check_layout, check_values, known_arrays
from driftgauge.baseline.metadata import (
    FORMAT_VERSION,
    ArtifactHeader,
    BaselineMetadata,
    ClusterDescription,
    ExampleDescription,
    NumberDescription,
    Requirements,
    SegmentName,
    faults,
)
from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.numbers import TALLY_ROWS, Number, NumberTally
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError
from driftgauge.files import open_regular, writing

__all__ = ["Baseline", "BaselineMetadata", "ClusterDescription", "load", "parse", "save", "serialize"]

# A single key of the safetensors metadata, because safetensors writes that map in no fixed order.
HEADER_KEY = "driftgauge"

# Files are read whole, so this limit bounds the memory that a wrong or hostile file takes. 2,000 centroids of
# 16,384 floats take 131 MB.
MAX_FILE_BYTES = 256 * 1024 * 1024

_METADATA = BaselineMetadata.model_fields.keys()

# The axes of a map.
_MAP_AXES = 2

# The parts of an overdispersion beside those of single statistics, in the order of its fields.
_OVERDISPERSION = ("windows", "counts", "means")


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A frozen baseline, checked for consistency on creation.

    Attributes:
        metadata: The metadata of the baseline.
        centroids: (k, d) float32; the service assigns events to the nearest one.
        counts: (k,) int64, the reference histogram, of vectors that the centroids were not fitted on.
        quantile_levels: (q,) float64, increasing, between 0 and 1, including 0.5 and 0.99.
        distance_quantiles: (k, q) float32, row j the quantiles of the distance between centroid j
            and its reference vectors: the Euclidean distance, or 1 - cosine under that metric.
        mean: (d,) float64, of all vectors, those that the centroids were fitted on too; not normalised under
            either metric.
        components: (r, d) float32, unit principal components of the reference vectors, the leading first.
        variances: (r,) float64, positive, the variance along each component.
        residual: (1,) float64, the variance in all other directions together.
        cluster_means: (k, r) float64, the mean of each cluster's vectors along the components, relative to
            the mean.
        arrays: The arrays of the statistics by name; see `Statistic.arrays`.
        overdispersion: The overdispersion of windows of related events; None if it is not known.
        segments: The reference of each segment; at most 64.
        descriptions: The description of each cluster, k of them; empty if none has a name or examples.
        farthest: The vectors that lie farthest beyond the radius of their cluster; None if unknown.
        numbers: The tallies of the numbers beside the vectors, those that the centroids were fitted on too,
            by name.
        later: The arrays of later versions by name: they decide nothing here, and are written again.
        identity: "sha256:" and the hash of everything that decides a result. It covers the format
            version, the stream, the model version, the metric, the fitted count, the length of the windows
            behind the overdispersion, the segments' names, all arrays, those of later versions too, and what
            a reader must understand. The seed, the library versions and
            the time of creation are left out, so repeating a fit gives the same identity.
            The descriptions are left out as well: they decide no result, and a cluster with another name
            is the same cluster. So are the numbers: to add one is no other baseline.

    Raises:
        BaselineError: The parts contradict each other.
    """

    metadata: BaselineMetadata
    centroids: Centroids
    counts: NDArray[np.int64]
    quantile_levels: NDArray[np.float64]
    distance_quantiles: NDArray[np.float32]
    mean: NDArray[np.float64]
    components: NDArray[np.float32]
    variances: NDArray[np.float64]
    residual: NDArray[np.float64]
    cluster_means: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]
    overdispersion: Overdispersion | None = None
    segments: tuple[SegmentReference, ...] = ()
    descriptions: tuple[ClusterDescription, ...] = ()
    farthest: ExampleDescription | None = None
    numbers: Mapping[str, NumberTally] = field(default_factory=dict)
    later: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        metadata, arrays, names = self.metadata, _arrays(self), _names(self)
        check_layout(arrays)
        object.__setattr__(self, "identity", _identity_of(metadata, arrays, names))
        clusters, dimension = arrays["centroids"].shape
        check_values(arrays)
        stated = (metadata.metric, metadata.clusters, metadata.dimension, metadata.reference_count)
        actual = (self.centroids.metric, clusters, dimension, int(self.counts.sum()))
        if stated != actual:
            message = (
                f"the metadata states (metric, clusters, dimension, reference count) {stated}, "
                f"but the arrays have {actual}"
            )
            raise BaselineError(message)
        # The covariance of no more vectors than components says nothing, as in `check_values`.
        if metadata.fitted_count <= len(self.variances):
            message = (
                f"the metadata states a fitted count of {metadata.fitted_count}, too few for "
                f"{len(self.variances)} components"
            )
            raise BaselineError(message)
        if len(self.descriptions) not in (0, clusters):
            message = f"{len(self.descriptions)} descriptions of clusters, but there are {clusters} clusters"
            raise BaselineError(message)
        if any(tally.values.shape != (TALLY_ROWS, clusters) for tally in self.numbers.values()):
            message = f"the tally of a number is not by the {clusters} clusters"
            raise BaselineError(message)
        if len(set(names)) < len(names):
            message = "two segments have the same key and value"
            raise BaselineError(message)

    @property
    def radii(self) -> NDArray[np.float32]:
        """The 99 % quantiles of the distance between centroids and their vectors, (k,) float32."""
        return self.distance_quantiles[:, self.quantile_levels == RADIUS_LEVEL][:, 0]

    @property
    def untested(self) -> tuple[str, ...]:
        """The statistics that are not tested: the baseline was fitted before they were there."""
        fitted = registry.fitted(self.arrays)
        return tuple(each.name for each in registry.STATISTICS if each not in fitted)

    @property
    def names(self) -> tuple[str | None, ...]:
        """The name of each cluster, k of them; None if a cluster has none."""
        return tuple(each.name for each in self.descriptions) or (None,) * len(self.counts)

    @property
    def examples(self) -> tuple[ExampleDescription, ...]:
        """The vectors nearest to each centroid, k times at most five, the nearest first."""
        return self.descriptions or (ExampleDescription(),) * len(self.counts)

    @property
    def positions(self) -> NDArray[np.float64]:
        """The clusters on a map: their means along the two leading components, in standard deviations.

        (k, 2) float64; the second coordinate is 0 if there is one component.
        """
        leading = self.cluster_means[:, :_MAP_AXES] / np.sqrt(self.variances[:_MAP_AXES])
        return np.pad(leading, ((0, 0), (0, _MAP_AXES - leading.shape[1])))


def save(baseline: Baseline, path: Path) -> None:
    """Write a baseline atomically: on failure `path` keeps its old content.

    Raises:
        BaselineError: The baseline is too large to be read again.
        InputError: The file cannot be written.
    """
    content = serialize(baseline)
    if len(content) > MAX_FILE_BYTES:
        message = (
            f"{path}: the baseline takes {len(content):,} bytes; the maximum is {MAX_FILE_BYTES:,}; "
            "fit fewer clusters"
        )
        raise BaselineError(message)
    # tempfile creates private files, and the service may run as another user.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path, "the baseline"):
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def serialize(baseline: Baseline) -> bytes:
    """Return the content of a baseline's file."""
    header = ArtifactHeader(
        format_version=FORMAT_VERSION,
        must_understand=tuple(baseline.metadata.must_understand),
        identity=baseline.identity,
        metadata=baseline.metadata,
        segments=_names(baseline),
        descriptions=baseline.descriptions,
        farthest=baseline.farthest,
        numbers={
            name: NumberDescription(
                low=tally.number.low,
                high=tally.number.high,
                tally=tuple(map(tuple, tally.values.tolist())),
                between=tally.between,
            )
            for name, tally in baseline.numbers.items()
        },
    )
    optional = "must_understand", "descriptions", "farthest", "numbers"
    empty = {name for name in optional if not getattr(header, name)}
    return save_tensors(_arrays(baseline), metadata={HEADER_KEY: header.model_dump_json(exclude=empty)})


def load(path: Path) -> Baseline:
    """Return the baseline in a file, with its content and identity verified.

    Raises:
        BaselineError: The file is missing, damaged, altered or not a baseline.
    """
    try:
        return parse(_read(path))
    except FileNotFoundError:
        message = f"{path} does not exist; fit it with `driftgauge baseline fit`, or correct the path"
        raise BaselineError(message) from None
    except OSError as error:
        message = f"{path}: cannot read the baseline: {error.strerror}; check the path and its permissions"
        raise BaselineError(message) from error
    except BaselineError as error:
        message = f"{path}: {error}; restore the file or fit it again with `driftgauge baseline fit`"
        raise BaselineError(message) from error


def _read(path: Path) -> bytes:
    """Return the content of a file whose size is within the limit."""
    with open_regular(path) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        message = (
            f"the file is larger than {MAX_FILE_BYTES:,} bytes, the maximum for a baseline; fewer clusters "
            "take less"
        )
        raise BaselineError(message)
    return content


def parse(content: bytes) -> Baseline:
    """Return the baseline in a file's content, verified.

    Raises:
        BaselineError: The content is damaged, altered or not a baseline.
    """
    try:
        arrays = load_tensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        message = f"not a complete safetensors file: {error}"
        raise BaselineError(message) from error
    header = _parse_header(content)
    sizes = check_layout(arrays)
    if len(header.segments) != sizes.get("s", 0):
        message = f"the header names {len(header.segments)} segments, but the arrays hold {sizes.get('s', 0)}"
        raise BaselineError(message)
    required = header.metadata.must_understand
    if {*header.must_understand} != required.keys():
        message = (
            "the content was altered: must_understand names "
            f"{', '.join(header.must_understand) or 'nothing'}, but by the metadata it names "
            f"{', '.join(required) or 'nothing'}"
        )
        raise BaselineError(message)
    identity = _identity_of(header.metadata, arrays, header.segments)
    if identity != header.identity:
        message = (
            f"the content was altered: the header states {header.identity}, but the content has {identity}"
        )
        raise BaselineError(message)
    segments = (
        SegmentReference(
            key=name.key,
            value=name.value,
            counts=arrays["segment_counts"][index],
            mean=arrays["segment_means"][index],
            covariance=arrays["segment_covariances"][index],
            arrays={
                name: arrays[f"segment_{name}"][index]
                for each in registry.STATISTICS
                for name in each.segment_arrays
                if f"segment_{name}" in arrays
            },
            overdispersion=_overdispersion(arrays, "segment_overdispersion_", index),
        )
        for index, name in enumerate(header.segments)
    )
    return Baseline(
        metadata=header.metadata,
        centroids=Centroids(arrays["centroids"], header.metadata.metric),
        overdispersion=(
            _overdispersion(arrays, "overdispersion_") if "overdispersion_windows" in arrays else None
        ),
        arrays={name: arrays[name] for each in registry.STATISTICS for name in each.arrays if name in arrays},
        segments=tuple(segments),
        descriptions=header.descriptions,
        farthest=header.farthest,
        numbers={name: _to_tally(name, each) for name, each in header.numbers.items()},
        later={name: arrays[name] for name in arrays.keys() - known_arrays()},
        **{name: arrays[name] for name in LAYOUT if name != "centroids"},
    )


def _to_tally(name: str, description: NumberDescription) -> NumberTally:
    """Return the tally of a number.

    Raises:
        BaselineError: Its rows differ in length.
    """
    try:
        values = np.array(description.tally, np.int64)
    except ValueError as error:
        message = f"the tally of the number {name} is no table: {error}"
        raise BaselineError(message) from error
    return NumberTally(Number(name, description.low, description.high), values, description.between)


def _overdispersion(
    arrays: Mapping[str, NDArray[Any]], prefix: str, index: int | None = None
) -> Overdispersion | None:
    """Return the overdispersion in arrays, or that of a segment; None if measured on no windows."""
    windows, counts = (arrays[f"{prefix}{part}"][index or 0] for part in ("windows", "counts"))
    others = {
        each.name: arrays[name] if index is None else arrays[name][index]
        for each in registry.STATISTICS
        if (name := f"{prefix}{each.name}") in arrays
    }
    means = arrays[f"{prefix}means"]
    if not windows:
        return None
    return Overdispersion(int(windows), float(counts), means if index is None else means[index], others)


def _parse_header(content: bytes) -> ArtifactHeader:
    """Return the header of a valid safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    text = json.loads(content[8:end]).get("__metadata__", {}).get(HEADER_KEY)
    if text is None:
        message = "a safetensors file, but not a driftgauge baseline"
        raise BaselineError(message)
    try:
        required = Requirements.model_validate_json(text).must_understand
        if unknown := {*required} - known_arrays() - ArtifactHeader.model_fields.keys() - _METADATA:
            message = (
                f"it has {', '.join(sorted(unknown))}, which a reader must understand and this driftgauge "
                "does not know: a later driftgauge wrote it; update this one"
            )
            raise BaselineError(message)
        return ArtifactHeader.model_validate_json(text)
    except ValidationError as error:
        message = f"the header is not valid: {faults(error)}"
        raise BaselineError(message) from error


def _arrays(baseline: Baseline) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, each row-major."""
    arrays = {name: getattr(baseline, name) for name in LAYOUT if name != "centroids"}
    arrays |= {**baseline.arrays, **baseline.later}
    arrays["centroids"] = baseline.centroids.values
    fitted = registry.fitted(baseline.arrays)
    varying = [each for each in fitted if each.variances]
    if (whole := baseline.overdispersion) is not None:
        arrays |= {
            "overdispersion_counts": np.array([whole.counts], np.float64),
            "overdispersion_means": whole.means,
            "overdispersion_windows": np.array([whole.windows], np.int64),
        } | {f"overdispersion_{each.name}": whole.of(each.name, each.variances) for each in varying}
    if segments := baseline.segments:
        unknown = Overdispersion(0, 1.0, np.eye(len(baseline.variances)))
        known = [segment.overdispersion or unknown for segment in segments]
        columns = {
            "segment_counts": [segment.counts for segment in segments],
            "segment_covariances": [segment.covariance for segment in segments],
            "segment_means": [segment.mean for segment in segments],
        } | {
            f"segment_overdispersion_{part}": [getattr(each, part) for each in known]
            for part in _OVERDISPERSION
        }
        arrays |= {name: np.array(column, SEGMENTS[name][0]) for name, column in columns.items()}
        for each in fitted:
            for name, (dtype, _, _) in each.segment_arrays.items():
                arrays[f"segment_{name}"] = np.array([own.arrays[name] for own in segments], dtype)
            if each.in_segments and each.variances:
                arrays[f"segment_overdispersion_{each.name}"] = np.array(
                    [own.of(each.name, each.variances) for own in known]
                )
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _identity_of(
    metadata: BaselineMetadata, arrays: Mapping[str, NDArray[Any]], segments: Sequence[SegmentName]
) -> str:
    """Return the identity; `schemas/baseline.md` defines it without reference to this code."""
    document: dict[str, Any] = {
        "arrays": {
            name: {
                "dtype": array.dtype.name,
                "sha256": hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest(),
                "shape": array.shape,
            }
            for name, array in arrays.items()
        },
        "fitted_count": metadata.fitted_count,
        "format_version": FORMAT_VERSION,
        "metric": metadata.metric,
        "model_version": metadata.model_version,
        "segments": [[segment.key, segment.value] for segment in segments],
        "stream": metadata.stream,
        "window_ms": metadata.window_ms,
    }
    if required := metadata.must_understand:
        document["must_understand"] = required
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _names(baseline: Baseline) -> tuple[SegmentName, ...]:
    """Return the names of the segments in their order.

    Raises:
        BaselineError: A key or value is empty or too long.
    """
    try:
        return tuple(SegmentName(key=segment.key, value=segment.value) for segment in baseline.segments)
    except ValidationError as error:
        message = f"the name of a segment is not valid: {faults(error)}"
        raise BaselineError(message) from error
