"""The metadata of a baseline, and the header of its file.

A later version adds fields with defaults. A reader ignores those that it does not know, unless the header
names them in `must_understand`.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from driftgauge.config.fields import STREAM_NAME, check, require
from driftgauge.config.inputs import MAX_TEXT
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.examples import can_be_example
from driftgauge.core.counting.numbers import TALLY_ROWS
from driftgauge.events.timestamps import LAST_MS

__all__ = [
    "FORMAT_VERSION",
    "MAX_CLUSTER_EXAMPLES",
    "MAX_CLUSTER_NAME",
    "ArtifactHeader",
    "BaselineMetadata",
    "ClusterDescription",
    "ExampleDescription",
    "NumberDescription",
    "Requirements",
    "SegmentName",
    "faults",
]

FORMAT_VERSION = 7
"""The generation of the file format, which changes only if no new field or array can express a change."""

_DECIDING = ("mixed_windows",)
"""Fields of the metadata that decide a result if they differ from their default."""

MAX_CLUSTER_NAME = 80
"""The most bytes of a cluster's name, in UTF-8."""

MAX_CLUSTER_EXAMPLES = 5
"""The most examples of a cluster in a baseline, and of its farthest vectors."""


_ShortText = Annotated[str, Field(max_length=MAX_TEXT)]
_Sum = Annotated[int, Field(ge=0, le=2**62)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class BaselineMetadata(_Record):
    """The metadata of a baseline.

    Attributes:
        stream: The stream whose events are compared with the baseline.
        model_version: The version of the embedding model, if known.
        dimension: d, the length of a vector.
        clusters: k, the number of clusters.
        metric: The distance that assigns vectors to clusters.
        fitted_count: The number of vectors that the centroids were fitted on.
        reference_count: m, the number of reference vectors, which is the sum of the histogram.
        window_ms: The length of the windows on which the overdispersion was measured; None if the
            overdispersion is not known, or was measured on groups.
        groups: The number of groups of one size that the groups are worth, on which the overdispersion was
            measured; None if it was not.
        mixed_windows: A window's events come from many groups, a few from each: the groups make an offset
            that all windows share.
        training_set: Whether the model was trained on the data behind the vectors.
        left_out: The number of vectors that the fit left out, by the reason: "zero", "repeated" or "far".
        stability: The agreement of other seeds of k-means on the clusters, as an adjusted Rand index, at
            most 1; None if it was not measured.
        seed: The seed of the split and of k-means.
        created_ms: The time of the fit, milliseconds since the epoch, UTC.
        text_bytes: How much of the text of each example the file holds, in UTF-8; 0: nothing.
        versions: The version of each library used in the fit.
    """

    stream: str = Field(pattern=f"^{STREAM_NAME}$")
    model_version: str | None = Field(max_length=MAX_TEXT)
    dimension: int = Field(ge=1)
    clusters: int = Field(ge=2)
    metric: DistanceMetric
    fitted_count: int = Field(ge=1)
    reference_count: int = Field(ge=1)
    window_ms: int | None = Field(ge=1)
    groups: int | None = Field(ge=1)
    mixed_windows: bool = False
    training_set: bool
    left_out: dict[str, Annotated[int, Field(ge=1)]] = {}
    stability: float | None = Field(ge=-1, le=1)
    seed: int = Field(ge=0)
    created_ms: int = Field(ge=0, le=LAST_MS)
    versions: dict[str, str]
    text_bytes: int = Field(ge=0, default=0)

    @property
    def must_understand(self) -> dict[str, Any]:
        """The fields that a reader must understand: they decide a result and are not at their default."""
        fields = type(self).model_fields
        values = self.model_dump(mode="json", include={*_DECIDING})
        return {name: value for name, value in values.items() if value != fields[name].default}

    @property
    def mean_count(self) -> int:
        """The number of vectors of the mean: all."""
        return self.fitted_count + self.reference_count


class SegmentName(_Record):
    """The key and value that the events of a segment share."""

    key: _ShortText
    value: _ShortText


_NAME = check(
    lambda name: name.isprintable() and len(name.encode()) <= MAX_CLUSTER_NAME,
    f"a name must be printable and have at most {MAX_CLUSTER_NAME} bytes",
)
_VERSION = check(
    lambda version: version == FORMAT_VERSION, f"this driftgauge reads format version {FORMAT_VERSION}"
)
_EXAMPLE = check(can_be_example, "an event id must be printable and have at most 64 bytes")


class ExampleDescription(_Record):
    """Some reference vectors.

    Attributes:
        example_ids: Their ids.
        example_texts: The beginnings of their texts, each in one line and one for each id; empty if
            the file holds none.
    """

    example_ids: Annotated[tuple[Annotated[str, _EXAMPLE], ...], Field(max_length=MAX_CLUSTER_EXAMPLES)] = ()
    example_texts: tuple[Annotated[str, Field(max_length=MAX_TEXT)], ...] = ()

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        is_whole = len(self.example_texts) in (0, len(self.example_ids))
        require(is_whole, "give a text for each example id, or none")
        return self


class ClusterDescription(ExampleDescription):
    """What people know a cluster by; its examples are the vectors nearest to its centroid, the nearest first.

    Attributes:
        name: Its labels or its terms; None if there are none. Clusters may share a name.
    """

    name: Annotated[str, Field(min_length=1), _NAME] | None = None


class NumberDescription(_Record):
    """The tally of a number beside the vectors, by cluster.

    Attributes:
        low, high: The ends of its range.
        tally: Five rows of k integers, see `Number.count`.
        between: The variance between the means of windows, see `NumberTally.variance_between`.
    """

    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]
    tally: Annotated[tuple[tuple[_Sum, ...], ...], Field(min_length=TALLY_ROWS, max_length=TALLY_ROWS)]
    between: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _check_range(self) -> "NumberDescription":
        if not self.low < self.high:
            message = "the range of a number is empty"
            raise ValueError(message)
        return self


class Requirements(_Record):
    """What a reader checks of the JSON text in a header before it reads the rest.

    Attributes:
        format_version: The generation of the file format.
        must_understand: The names of the fields and arrays that a reader may not ignore.
    """

    format_version: Annotated[int, _VERSION]
    must_understand: tuple[str, ...] = ()


class ArtifactHeader(Requirements):
    """The JSON text in the header of a baseline's file.

    Attributes:
        identity: The identity of the baseline.
        metadata: The metadata of the baseline.
        segments: The names of the segments, in the order of their arrays.
        descriptions: The descriptions of the clusters, in their order; empty if there are none.
        farthest: The reference vectors that lie farthest beyond the radius of their cluster, by the distance
            in radii, the farthest first; None if unknown.
        numbers: The numbers beside the vectors, by name.
    """

    identity: str
    metadata: BaselineMetadata
    segments: tuple[SegmentName, ...]
    descriptions: tuple[ClusterDescription, ...] = ()
    farthest: ExampleDescription | None = None
    numbers: dict[str, NumberDescription] = {}


def faults(error: ValidationError) -> str:
    """Return the faults that a pydantic model found, in one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
    )
