"""Segments of a stream's events, such as one country's: which there are, and what each is compared with."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.reference import OTHER, SegmentReference
from driftgauge.errors import BaselineError, InputError
from driftgauge.events.contract import MAX_TEXT

__all__ = [
    "MAX_SEGMENT_VALUES",
    "Members",
    "SegmentChoice",
    "check_members",
    "check_segments",
    "find_members",
    "parse_choice",
    "reference_segments",
]

MAX_SEGMENT_VALUES = 64
"""The most segments of a baseline, over all keys and with every `other`: each is counted and exposed."""

# Five a cluster, as the histogram needs them, and five a component: a covariance of r components that
# is estimated from hardly more than r vectors is none.
VECTORS_PER_AXIS = 5


@dataclass(frozen=True, slots=True)
class SegmentChoice:
    """The values of one key that get a segment of their own; all else is `other`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Which of n vectors belong to a segment.

    Attributes:
        key: The segment's key.
        value: The segment's value.
        rows: (n,) bool, true for its vectors.
    """

    key: str
    value: str
    rows: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """As an operator writes it, "country=de"."""
        return f"{self.key}={self.value}"

    def of(self, chosen: NDArray[np.intp]) -> "Members":
        """Return the members among some of the rows."""
        return Members(self.key, self.value, self.rows[chosen])


def parse_choice(text: str) -> SegmentChoice:
    """Return what "country=de,fr" chooses.

    Raises:
        ValueError: It is not such a text, or names a value twice or `other`.
    """
    key, separator, listed = text.partition("=")
    values = tuple(listed.split(","))
    if not (key and separator and all(values)):
        msg = f"{text!r} does not choose segments; write a key and its values, such as country=de,fr"
        raise ValueError(msg)
    if max(map(len, (key, *values))) > MAX_TEXT:
        msg = f"a key or value has more than the {MAX_TEXT} characters that an event's may have"
        raise ValueError(msg)
    if len(set(values)) < len(values):
        msg = f"{text!r} names a value twice; name each once"
        raise ValueError(msg)
    if OTHER in values:
        msg = f"{text!r}: what is not named is counted as {OTHER} in any case; leave it out"
        raise ValueError(msg)
    return SegmentChoice(key, values)


def find_members(
    labels: Sequence[Mapping[str, str]] | None, choices: Collection[SegmentChoice]
) -> tuple[Members, ...]:
    """Return which of n vectors belong to each chosen segment, and to `other` of each key.

    Raises:
        InputError: These segments cannot be told apart; the message says what would help.
    """
    if not choices:
        return ()
    if labels is None:
        msg = "only events carry segments; fit on a .jsonl or .jsonl.gz file, or leave out --segment"
        raise InputError(msg)
    keys = [choice.key for choice in choices]
    if len(set(keys)) < len(keys):
        msg = "--segment names a key twice; give all of its values at once, such as country=de,fr"
        raise InputError(msg)
    total = sum(len(choice.values) + 1 for choice in choices)
    if total > MAX_SEGMENT_VALUES:
        msg = (
            f"--segment names {total} segments, {OTHER} of each key among them, and {MAX_SEGMENT_VALUES} are "
            f"the most; leave out the small ones, they are then counted as {OTHER}"
        )
        raise InputError(msg)
    members = []
    for choice in choices:
        number = {value: place for place, value in enumerate(choice.values)}
        found = np.array([number.get(row.get(choice.key, OTHER), len(number)) for row in labels])
        members += [
            Members(choice.key, value, found == place) for place, value in enumerate((*choice.values, OTHER))
        ]
    return tuple(members)


def check_members(
    members: Iterable[Members], clusters: int, components: int, progress: Callable[[str], None]
) -> tuple[Members, ...]:
    """Return the segments that have enough reference vectors: five a cluster and five a component.

    `other` may have too few, and is then left out: nothing can be folded into it that is not.

    Raises:
        BaselineError: A segment that was asked for has too few.
    """
    needed = VECTORS_PER_AXIS * max(clusters, components)
    kept, few = [], []
    for member in members:
        count = int(member.rows.sum())
        if count >= needed:
            kept.append(member)
        elif member.value == OTHER:
            progress(
                f"segment {member.name} has {count:,} of the vectors held out, fewer than {needed:,}: its "
                f"events will count in the whole only"
            )
        else:
            few.append(f"{member.name} {count:,}")
    if few:
        msg = (
            f"segments have too few of the vectors held out, and {needed:,} are needed of each: "
            f"{', '.join(few)}; leave them out, so that they count as {OTHER}, or give more events"
        )
        raise BaselineError(msg)
    return tuple(kept)


def reference_segments(
    members: Iterable[Members],
    ids: NDArray[np.intp],
    along: NDArray[np.float64],
    clusters: int,
    progress: Callable[[str], None],
) -> tuple[SegmentReference, ...]:
    """Return what the events of each segment are compared with.

    Args:
        members: The segments of m reference vectors.
        ids: (m,), the cluster of each.
        along: (m, r) float64, its place along the components, relative to the mean.
        clusters: k.
        progress: Is told what is left out.

    Raises:
        BaselineError: The vectors of a segment that was asked for do not vary along every component.
    """
    references = []
    for member in members:
        own = along[member.rows]
        covariance = np.atleast_2d(np.cov(own, rowvar=False))
        if np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance):
            said = f"the vectors of segment {member.name} do not vary along every component"
            if member.value != OTHER:
                msg = f"{said}; leave it out, so that they count as {OTHER}, or give more varied events"
                raise BaselineError(msg)
            progress(f"{said}: its events will count in the whole only")
            continue
        counts = np.bincount(ids[member.rows], minlength=clusters).astype(np.int64)
        references.append(SegmentReference(member.key, member.value, counts, own.mean(axis=0), covariance))
    return tuple(references)


def check_segments(segments: Collection[SegmentReference], counts: NDArray[np.int64]) -> None:
    """Refuse segments that cannot be told apart, or that are no part of a baseline's histogram.

    Args:
        segments: Each with (k,) counts.
        counts: (k,) int64, the baseline's histogram.

    Raises:
        BaselineError: With what is wrong.
    """
    if len(segments) > MAX_SEGMENT_VALUES:
        msg = f"it has {len(segments)} segments, and {MAX_SEGMENT_VALUES} are the most"
        raise BaselineError(msg)
    if len({(segment.key, segment.value) for segment in segments}) < len(segments):
        msg = "two of its segments have the same key and value"
        raise BaselineError(msg)
    for key in {segment.key for segment in segments}:
        counted = sum(segment.counts for segment in segments if segment.key == key)
        if (counted > counts).any():
            msg = f"its segments by {key} hold more vectors of a cluster than it does"
            raise BaselineError(msg)
