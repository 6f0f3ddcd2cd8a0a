"""A frozen baseline and the safetensors file that holds it; `schemas/baseline.md` describes both.

No scikit-learn here: the service loads baselines and has no use for the rest of it.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from driftgauge.baseline.arrays import DEPENDENCE, LAYOUT, check_layout, check_values
from driftgauge.baseline.checks import check_overdispersion
from driftgauge.baseline.identity import FORMAT_VERSION, identity_of
from driftgauge.baseline.metadata import ArtifactHeader, BaselineMetadata, SegmentName, faults
from driftgauge.baseline.segments import check_segments
from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError

__all__ = ["Baseline", "BaselineMetadata", "load", "parse", "save", "serialize"]

# The key of safetensors' own metadata; one key, because that map is written in no fixed order.
HEADER_KEY = "driftgauge"

# A file is read whole, so what a wrong or hostile one can cost is bounded. 2,000 centroids of
# 16,384 floats take 131 MB; the header takes about 2 KiB, and with 64 segments of the longest names
# that JSON can make of their characters 225 KiB.
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_HEADER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A frozen baseline; one that exists is consistent.

    Attributes:
        metadata: The metadata of the baseline.
        centroids: (k, d) float32, what events are assigned to.
        counts: (k,) int64, the reference histogram, of vectors the centroids were not fitted on.
        quantile_levels: (q,) float64, growing, between 0 and 1, with 0.5 and 0.99 among them.
        distance_quantiles: (k, q) float32, row j the quantiles of the distance between centroid j
            and its reference vectors: the Euclidean distance, or 1 - cosine under that metric.
        mean: (d,) float64, of the reference vectors as they came, whatever the metric.
        components: (r, d) float32, unit principal components of the same vectors, the leading first.
        variances: (r,) float64, positive, the variance along each component.
        overdispersion: What related events add to the variation of windows; None where it is not known.
        segments: What the events of each segment are compared with; at most 64.
        identity: "sha256:" and the hash of everything that decides a result. It covers the format
            version, the stream, the model version, the metric, the length of the windows behind the
            overdispersion, the segments' names and all arrays; not the seed, the count fitted on, the
            library versions or the time of creation, so the same fit made twice has one identity.

    Raises:
        BaselineError: The parts do not fit each other.
    """

    metadata: BaselineMetadata
    centroids: Centroids
    counts: NDArray[np.int64]
    quantile_levels: NDArray[np.float64]
    distance_quantiles: NDArray[np.float32]
    mean: NDArray[np.float64]
    components: NDArray[np.float32]
    variances: NDArray[np.float64]
    overdispersion: Overdispersion | None = None
    segments: tuple[SegmentReference, ...] = ()
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        metadata, arrays = self.metadata, _arrays(self)
        sizes = check_layout(arrays)
        check_values(arrays, self.centroids.metric)
        said = (metadata.metric, metadata.clusters, metadata.dimension, metadata.reference_count)
        held = (self.centroids.metric, sizes["k"], sizes["d"], int(self.counts.sum()))
        if said != held:
            msg = f"its metadata says (metric, clusters, dimension, reference count) {said}; it holds {held}"
            raise BaselineError(msg)
        if (metadata.window_ms is None) != (self.overdispersion is None):
            msg = (
                "it must give the length of the windows that its overdispersion was measured on, and no other"
            )
            raise BaselineError(msg)
        if self.overdispersion is None and any(
            segment.overdispersion is not None for segment in self.segments
        ):
            msg = "a segment's overdispersion is known, and not that of the whole"
            raise BaselineError(msg)
        if sizes["r"] > MAX_COMPONENTS:
            msg = f"it has {sizes['r']} components, and {MAX_COMPONENTS} are the most"
            raise BaselineError(msg)
        check_segments(self.segments, self.counts)
        parts: tuple[Baseline | SegmentReference, ...] = (self, *self.segments)
        for part in parts:
            if part.overdispersion is not None:
                check_overdispersion(part.overdispersion, int(part.counts.sum()))
        object.__setattr__(self, "identity", identity_of(metadata, arrays, _names(self)))

    @property
    def radii(self) -> NDArray[np.float32]:
        """(k,) float32, the distance within which 99 % of a cluster's reference vectors lie."""
        return self.distances(0.99)

    def distances(self, level: float) -> NDArray[np.float32]:
        """Return each cluster's quantile of the distance at one of the levels, (k,) float32."""
        return self.distance_quantiles[:, self.quantile_levels == level][:, 0]


def save(baseline: Baseline, path: Path) -> None:
    """Write a baseline; `path` holds either what it held before or all of the new file.

    Raises:
        BaselineError: The file cannot be written.
    """
    content = serialize(baseline)
    if len(content) > MAX_FILE_BYTES:
        msg = (
            f"{path}: this baseline takes {len(content):,} bytes, more than the {MAX_FILE_BYTES:,} a file "
            f"may have; fit fewer clusters"
        )
        raise BaselineError(msg)
    # Not tempfile: its files are private to the user, and the service may run as another.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{path}: cannot write the baseline: {error.strerror}; name a file in a folder you may write to"
        raise BaselineError(msg) from error


def serialize(baseline: Baseline) -> bytes:
    """Return the bytes of a baseline's file."""
    header = ArtifactHeader(
        format_version=FORMAT_VERSION,
        identity=baseline.identity,
        metadata=baseline.metadata,
        segments=_names(baseline),
    ).model_dump_json()
    return save_tensors(_arrays(baseline), metadata={HEADER_KEY: header})


def load(path: Path) -> Baseline:
    """Read a baseline and verify all of it, its identity included.

    Raises:
        BaselineError: The file is missing, damaged, altered or not a baseline.
    """
    try:
        return parse(_read(path))
    except OSError as error:
        msg = f"{path}: cannot read the baseline: {error.strerror}; check the path and its permissions"
        raise BaselineError(msg) from error
    except BaselineError as error:
        msg = f"{path}: {error}; restore the file or fit it again with `driftgauge baseline fit`"
        raise BaselineError(msg) from error


def _read(path: Path) -> bytes:
    """Return a file's bytes, no more than a baseline may have."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        msg = f"larger than the {MAX_FILE_BYTES:,} bytes a baseline may have"
        raise BaselineError(msg)
    if int.from_bytes(content[:8], "little") > MAX_HEADER_BYTES:
        msg = f"not a baseline: its header would be larger than {MAX_HEADER_BYTES:,} bytes"
        raise BaselineError(msg)
    return content


def parse(content: bytes) -> Baseline:
    """Return the baseline in a file's bytes, verified.

    Raises:
        BaselineError: They are damaged, altered or not a baseline's.
    """
    try:
        arrays = load_tensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        msg = f"not a whole safetensors file: {error}"
        raise BaselineError(msg) from error
    header = _parse_header(content)
    sizes = check_layout(arrays)
    if len(header.segments) != sizes.get("s", 0):
        msg = f"its header names {len(header.segments)} segments, and it holds {sizes.get('s', 0)}"
        raise BaselineError(msg)
    identity = identity_of(header.metadata, arrays, header.segments)
    if identity != header.identity:
        msg = f"its content was altered: it says it is {header.identity}, and what it holds is {identity}"
        raise BaselineError(msg)
    overdispersion = None
    if arrays.keys() >= DEPENDENCE.keys():
        overdispersion = _overdispersion(
            arrays["dependence_windows"][0], arrays["dependence_counts"][0], arrays["dependence_means"]
        )
    segments = (
        SegmentReference(
            key=name.key,
            value=name.value,
            counts=arrays["segment_counts"][place],
            mean=arrays["segment_means"][place],
            covariance=arrays["segment_covariances"][place],
            overdispersion=_overdispersion(
                arrays["segment_dependence_windows"][place],
                arrays["segment_dependence_counts"][place],
                arrays["segment_dependence_means"][place],
            ),
        )
        for place, name in enumerate(header.segments)
    )
    return Baseline(
        metadata=header.metadata,
        centroids=Centroids(arrays["centroids"], header.metadata.metric),
        overdispersion=overdispersion,
        segments=tuple(segments),
        **{name: arrays[name] for name in LAYOUT if name != "centroids"},
    )


def _overdispersion(
    windows: np.int64, counts: np.float64, means: NDArray[np.float64]
) -> Overdispersion | None:
    """Return an overdispersion; that of no windows is not known."""
    return Overdispersion(int(windows), float(counts), means) if windows else None


def _parse_header(content: bytes) -> ArtifactHeader:
    """Return the header of bytes that safetensors has accepted."""
    end = 8 + int.from_bytes(content[:8], "little")
    text = json.loads(content[8:end]).get("__metadata__", {}).get(HEADER_KEY)
    if text is None:
        msg = "a safetensors file, but not a driftgauge baseline"
        raise BaselineError(msg)
    try:
        version = json.loads(text)["format_version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        msg = "its header does not say in which format it is"
        raise BaselineError(msg) from error
    if version != FORMAT_VERSION:
        msg = f"its format version is {version!r}, and this driftgauge reads version {FORMAT_VERSION}"
        raise BaselineError(msg)
    try:
        return ArtifactHeader.model_validate_json(text)
    except ValidationError as error:
        msg = f"its header is not valid: {faults(error)}"
        raise BaselineError(msg) from error


def _arrays(baseline: Baseline) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, each row-major.

    Raises:
        BaselineError: The segments' arrays differ in shape.
    """
    arrays = {name: getattr(baseline, name) for name in LAYOUT if name != "centroids"}
    arrays["centroids"] = baseline.centroids.values
    if (overdispersion := baseline.overdispersion) is not None:
        arrays["dependence_counts"] = np.array([overdispersion.counts], np.float64)
        arrays["dependence_means"] = overdispersion.means
        arrays["dependence_windows"] = np.array([overdispersion.windows], np.int64)
    if segments := baseline.segments:
        try:
            arrays["segment_counts"] = np.stack([segment.counts for segment in segments])
            arrays["segment_covariances"] = np.stack([segment.covariance for segment in segments])
            arrays["segment_means"] = np.stack([segment.mean for segment in segments])
            unknown = Overdispersion(0, 1.0, np.eye(len(baseline.variances)))
            known = [segment.overdispersion or unknown for segment in segments]
            arrays["segment_dependence_windows"] = np.array([each.windows for each in known], np.int64)
            arrays["segment_dependence_counts"] = np.array([each.counts for each in known], np.float64)
            arrays["segment_dependence_means"] = np.stack([each.means for each in known])
        except ValueError as error:
            msg = f"its segments do not fit each other: {error}"
            raise BaselineError(msg) from error
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _names(baseline: Baseline) -> tuple[SegmentName, ...]:
    """Return the names of the segments in their order."""
    try:
        return tuple(SegmentName(key=segment.key, value=segment.value) for segment in baseline.segments)
    except ValidationError as error:
        msg = f"a segment cannot be named so: {faults(error)}"
        raise BaselineError(msg) from error
