"""Segments of a stream's events, such as those of one country: selection, members and references."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.reference import OTHER, SegmentReference
from driftgauge.errors import BaselineError, InputError

__all__ = [
    "MAX_SEGMENT_VALUES",
    "Members",
    "SegmentChoice",
    "check_members",
    "choose_frequent",
    "find_members",
    "parse_choice",
    "reference_segments",
]

MAX_SEGMENT_VALUES = 64
"""The most segments of a baseline, over all keys and including each `other`: each adds state and metrics."""

# The histogram needs five vectors per cluster, and the covariance needs several times more vectors than
# it has components.
VECTORS_PER_AXIS = 5

# Half of a segment's vectors are held out, and sometimes, by whole windows, far fewer.
_SURE = 4


@dataclass(frozen=True, slots=True)
class SegmentChoice:
    """The values of one key that get a segment each; all other events belong to `other`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The members of a segment among n vectors.

    Attributes:
        key: The segment's key.
        value: The segment's value.
        rows: (n,) bool, true for members.
    """

    key: str
    value: str
    rows: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Key and value, such as "country=de"."""
        return f"{self.key}={self.value}"

    def of(self, chosen: NDArray[np.intp]) -> "Members":
        """Return the members among the chosen rows."""
        return Members(self.key, self.value, self.rows[chosen])


def parse_choice(text: str) -> SegmentChoice:
    """Return the choice that a text such as "country=de,fr" makes.

    Raises:
        ValueError: The text has another form, or names a value twice or `other`.
    """
    key, separator, listed = text.partition("=")
    values = tuple(listed.split(","))
    if not (key and separator and all(values)):
        message = f"{text!r} does not choose segments; write a key and its values, such as country=de,fr"
        raise ValueError(message)
    if len({*values, OTHER}) <= len(values):
        message = (
            f"{text!r} names a value twice, or {OTHER}, which always counts the values not named; name each "
            f"once, and leave {OTHER} out"
        )
        raise ValueError(message)
    return SegmentChoice(key, values)


def choose_frequent(
    labels: Sequence[Mapping[str, str]], clusters: int, progress: Callable[[str], None]
) -> tuple[SegmentChoice, ...]:
    """Return the choice of the most frequent values of each key, of those that surely have enough vectors.

    Args:
        labels: The segments of each vector.
        clusters: The number of clusters.
        progress: Receives the choice.
    """
    least = _SURE * VECTORS_PER_AXIS * max(clusters, MAX_COMPONENTS)
    counted = Counter(item for row in labels for item in row.items()).most_common()
    keys = sorted({key for (key, _), _ in counted})
    choices = []
    for key in keys:
        values = [value for (own, value), n in counted if own == key and n >= least and value != OTHER]
        if values:
            most = MAX_SEGMENT_VALUES // len(keys) - 1
            choices.append(SegmentChoice(key, tuple(sorted(values[:most]))))
    if keys:
        listed = "; ".join(f"{choice.key}={','.join(choice.values)}" for choice in choices) or "none"
        progress(f"segments with {least:,} vectors or more: {listed}; --segment chooses others")
    return tuple(choices)


def find_members(
    labels: Sequence[Mapping[str, str]] | None, choices: Collection[SegmentChoice]
) -> tuple[Members, ...]:
    """Return the members of each chosen segment and of each key's `other`, among n vectors.

    Raises:
        InputError: The choices conflict or are too many, or no labels exist; the message states the remedy.
    """
    if not choices:
        return ()
    if labels is None:
        message = (
            "only events carry segments; fit on a .jsonl or .jsonl.gz file, a table with a column of the key "
            "or a topic, or leave out --segment"
        )
        raise InputError(message)
    keys = [choice.key for choice in choices]
    if len(set(keys)) < len(keys):
        message = "--segment names a key twice; give all of its values at once, such as country=de,fr"
        raise InputError(message)
    total = sum(len(choice.values) + 1 for choice in choices)
    if total > MAX_SEGMENT_VALUES:
        message = (
            f"--segment names {total} segments, including {OTHER} of each key; the maximum is "
            f"{MAX_SEGMENT_VALUES}; leave out small ones, which then count as {OTHER}"
        )
        raise InputError(message)
    members = []
    for choice in choices:
        numbers = {value: number for number, value in enumerate(choice.values)}
        assigned = np.array([numbers.get(row.get(choice.key, OTHER), len(numbers)) for row in labels])
        members += [
            Members(choice.key, value, assigned == number)
            for number, value in enumerate((*choice.values, OTHER))
        ]
    return tuple(members)


def check_members(
    members: Iterable[Members], clusters: int, components: int, progress: Callable[[str], None]
) -> tuple[Members, ...]:
    """Return the segments with enough reference vectors: five per cluster and five per component.

    An `other` with too few is left out, because no larger segment could take its events.

    Raises:
        BaselineError: A chosen segment has too few.
    """
    needed = VECTORS_PER_AXIS * max(clusters, components)
    kept, few = [], []
    for member in members:
        count = int(member.rows.sum())
        if count >= needed:
            kept.append(member)
        elif member.value == OTHER:
            progress(
                f"segment {member.name} has {count:,} held-out vectors, fewer than {needed:,}: its "
                f"events count only in the whole stream"
            )
        else:
            few.append(f"{member.name} {count:,}")
    if few:
        message = (
            f"each segment needs {needed:,} held-out vectors, but some have fewer: "
            f"{', '.join(few)}; leave them out, so that they count as {OTHER}, or give more events"
        )
        raise BaselineError(message)
    return tuple(kept)


def reference_segments(
    members: Iterable[Members],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    arrays: Mapping[str, Mapping[str, NDArray[Any]]],
    clusters: int,
    progress: Callable[[str], None],
) -> tuple[SegmentReference, ...]:
    """Return the reference of each segment.

    Args:
        members: The segments of m reference vectors.
        ids: (m,), the cluster of each vector.
        coordinates: (m, r) float64, its coordinates along the components, relative to the mean.
        arrays: The arrays of the statistics by the segment's name; see `Statistic.segment_arrays`.
        clusters: k.
        progress: Receives a line for each segment that is left out.

    Raises:
        BaselineError: The vectors of a chosen segment do not vary along every component.
    """
    references = []
    for member in members:
        own = coordinates[member.rows]
        covariance = np.atleast_2d(np.cov(own, rowvar=False))
        if np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance):
            message = f"the vectors of segment {member.name} do not vary along every component"
            if member.value != OTHER:
                message = (
                    f"{message}; leave the segment out, so that its events count as {OTHER}, "
                    f"or give more varied events"
                )
                raise BaselineError(message)
            progress(f"{message}: its events count only in the whole stream")
            continue
        counts = np.bincount(ids[member.rows], minlength=clusters).astype(np.int64)
        references.append(
            SegmentReference(
                member.key,
                member.value,
                counts,
                own.mean(axis=0),
                covariance,
                arrays[member.name],
            )
        )
    return tuple(references)
