"""A frozen baseline and the safetensors file that holds it; `schemas/baseline.md` describes both.

No scikit-learn here: the service loads baselines and has no use for the rest of it.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from driftgauge.baseline.arrays import LAYOUT, check_layout, check_values
from driftgauge.core.assignment import Centroids, Metric
from driftgauge.errors import BaselineError
from driftgauge.events.contract import MAX_TEXT, STREAM_NAME
from driftgauge.events.timestamps import LAST_MS

__all__ = ["Baseline", "BaselineMetadata", "faults", "load", "parse", "save", "serialize"]

FORMAT_VERSION = 1

# The key of safetensors' own metadata; one key, because that map is written in no fixed order.
HEADER_KEY = "driftgauge"

# A file is read whole, so what a wrong or hostile one can cost is bounded. 2,000 centroids of
# 16,384 floats take 131 MB; the header of seven arrays takes about 1 KiB.
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024


class BaselineMetadata(BaseModel):
    """What a baseline says of itself.

    Attributes:
        stream: The stream whose events it judges.
        model_version: The version of the embedding model it was fitted on, where known.
        dimension: d, the length of a vector.
        clusters: k, the number of clusters.
        metric: What "nearest" means.
        fitted_count: How many vectors the centroids were fitted on.
        reference_count: How many others were counted: m, the sum of the histogram.
        seed: The seed of the split and of k-means.
        created_ms: When it was fitted, milliseconds since the epoch, UTC.
        versions: The version of each library that took part.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    stream: str = Field(pattern=f"^{STREAM_NAME}$")
    model_version: str | None = Field(max_length=MAX_TEXT)
    dimension: int = Field(ge=1)
    clusters: int = Field(ge=2)
    metric: Metric
    fitted_count: int = Field(ge=1)
    reference_count: int = Field(ge=1)
    seed: int = Field(ge=0)
    created_ms: int = Field(ge=0, le=LAST_MS)
    versions: dict[str, str]


class _Header(BaseModel):
    """The JSON text under `HEADER_KEY`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format_version: int
    identity: str
    metadata: BaselineMetadata


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A frozen baseline; one that exists is consistent.

    Attributes:
        metadata: What it says of itself.
        centroids: (k, d) float32, what events are assigned to.
        counts: (k,) int64, the reference histogram, of vectors the centroids were not fitted on.
        quantile_levels: (q,) float64, growing, between 0 and 1, with 0.5 and 0.99 among them.
        distance_quantiles: (k, q) float32, row j the quantiles of the distance between centroid j
            and its reference vectors: the Euclidean distance, or 1 - cosine under that metric.
        mean: (d,) float64, of the reference vectors as they came, whatever the metric.
        components: (r, d) float32, unit principal components of the same vectors, the leading first.
        variances: (r,) float64, positive, the variance along each component.
        identity: "sha256:" and the hash of everything that decides a result. It covers the format
            version, the stream, the model version, the metric and all arrays; not the seed, the
            count fitted on, the library versions or the time of creation, so the same fit
            made twice has one identity.

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
        object.__setattr__(self, "identity", _identity(metadata, arrays))


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
    header = _Header(
        format_version=FORMAT_VERSION, identity=baseline.identity, metadata=baseline.metadata
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


def faults(error: ValidationError) -> str:
    """Return what a pydantic model found wrong, in one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
    )


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
    check_layout(arrays)
    identity = _identity(header.metadata, arrays)
    if identity != header.identity:
        msg = f"its content was altered: it says it is {header.identity}, and what it holds is {identity}"
        raise BaselineError(msg)
    centroids = Centroids(arrays.pop("centroids"), header.metadata.metric)
    return Baseline(metadata=header.metadata, centroids=centroids, **arrays)


def _parse_header(content: bytes) -> _Header:
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
        return _Header.model_validate_json(text)
    except ValidationError as error:
        msg = f"its header is not valid: {faults(error)}"
        raise BaselineError(msg) from error


def _arrays(baseline: Baseline) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, each row-major."""
    arrays = {name: getattr(baseline, name) for name in LAYOUT if name != "centroids"}
    arrays["centroids"] = baseline.centroids.values
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _identity(metadata: BaselineMetadata, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the identity; `schemas/baseline.md` defines it without reference to this code."""
    document = {
        "arrays": {
            name: {
                "dtype": array.dtype.name,
                "sha256": hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest(),
                "shape": array.shape,
            }
            for name, array in arrays.items()
        },
        "format_version": FORMAT_VERSION,
        "metric": metadata.metric,
        "model_version": metadata.model_version,
        "stream": metadata.stream,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
