"""The identity of a baseline: the hash of everything that decides a result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from driftgauge.baseline.metadata import BaselineMetadata, SegmentName

__all__ = ["FORMAT_VERSION", "identity_of"]

FORMAT_VERSION = 5


def identity_of(
    metadata: BaselineMetadata, arrays: Mapping[str, NDArray[Any]], segments: Sequence[SegmentName]
) -> str:
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
        "fitted_count": metadata.fitted_count,
        "format_version": FORMAT_VERSION,
        "metric": metadata.metric,
        "model_version": metadata.model_version,
        "segments": [[segment.key, segment.value] for segment in segments],
        "stream": metadata.stream,
        "window_ms": metadata.window_ms,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
