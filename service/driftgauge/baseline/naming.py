"""Descriptions of clusters: names from the labels or texts of their vectors, and examples."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from driftgauge.baseline.collecting import shorten
from driftgauge.baseline.metadata import (
    MAX_CLUSTER_EXAMPLES,
    MAX_CLUSTER_NAME,
    ClusterDescription,
    ExampleDescription,
)
from driftgauge.core.counting.examples import can_be_example

__all__ = ["describe_clusters", "find_farthest", "report_names"]

# The most labels or terms in a name.
_MAX_PARTS = 3

# Labels are added to a name until they cover most of the labelled vectors. One that few of the cluster's
# vectors have would say more than is so.
_COVERED = 0.8
_LEAST_SHARE = 0.1

# A word begins with a letter: numbers are rarely what a text is about. A word of one text names no cluster,
# nor does one that weighs less than three times as much in its texts as in all others.
_WORD = r"(?u)\b[^\W\d_]\w+\b"
_LEAST_TEXTS = 2
_LEAST_RATIO = 3.0
# More texts take long. Of a baseline of 20 clusters, each is then named by about 2,500.
_MOST_TEXTS = 50_000

_UNNAMED = {
    "labels": "no label covers a tenth of a cluster's held-out vectors",
    "texts": "no word, found between spaces and punctuation, sets the texts of a cluster apart",
}


def describe_clusters(
    rows: NDArray[np.intp],
    ids: NDArray[np.intp],
    distances: NDArray[np.float32],
    clusters: int,
    *,
    labels: Sequence[str | None] | None,
    texts: Sequence[str | None] | None,
    event_ids: Sequence[str | None] | None,
    text_bytes: int = 0,
) -> tuple[ClusterDescription, ...]:
    """Return the description of each of k clusters; none if nothing is known of the vectors.

    Args:
        rows: (m,), ascending, the rows of the reference vectors among all n vectors.
        ids: (m,), their clusters.
        distances: (m,) float32, their distances to the centroid.
        clusters: k.
        labels: n labels, None for a vector without one.
        texts: n texts or their beginnings, likewise; used if there are no labels.
        event_ids: n event ids, None for a vector without one.
        text_bytes: How much of the text of each example is kept, in UTF-8.
    """
    if labels is None and texts is None and event_ids is None:
        return ()
    names: Sequence[str | None] = [None] * clusters
    if labels is not None:
        names = _name_by_labels(labels, rows, ids, clusters)
    elif texts is not None:
        names = _name_by_texts(texts, rows, ids, clusters)
    found: list[dict[str, int]] = [{}] * clusters
    if event_ids is not None:
        order = np.argsort(distances, kind="stable")
        found = _first(event_ids, rows[order], ids[order], clusters)
    return tuple(
        ClusterDescription(name=name, **_describe(nearest, texts, text_bytes))
        for name, nearest in zip(names, found, strict=True)
    )


def find_farthest(
    rows: NDArray[np.intp],
    distances: NDArray[np.float32],
    radii: NDArray[np.float32],
    *,
    texts: Sequence[str | None] | None,
    event_ids: Sequence[str | None] | None,
    text_bytes: int,
) -> ExampleDescription | None:
    """Return the vectors that lie farthest beyond the radius of their cluster, the farthest first.

    None if no ids are known.

    Args:
        rows: (m,), ascending, the rows of the reference vectors among all n vectors.
        distances: (m,) float32, their distances to the centroid.
        radii: (m,) float32, the radii of their clusters.
        texts: n texts or their beginnings, None for a vector without one.
        event_ids: n event ids, likewise.
        text_bytes: How much of the text of each is kept, in UTF-8.
    """
    if event_ids is None:
        return None
    beyond = np.flatnonzero(distances > radii)
    # A cluster of equal vectors has no radius.
    with np.errstate(divide="ignore"):
        order = beyond[np.argsort(-distances[beyond] / radii[beyond], kind="stable")]
    (found,) = _first(event_ids, rows[order], np.zeros(len(order), np.intp), 1)
    return ExampleDescription(**_describe(found, texts, text_bytes))


def report_names(
    descriptions: Sequence[ClusterDescription],
    progress: Callable[[str], None],
    *,
    source: str | None,
    has_ids: bool,
) -> None:
    """Report how many clusters have a name; a warning if none has, or if no id can be an example.

    Args:
        descriptions: The description of each cluster.
        progress: Receives the lines.
        source: What names clusters, "labels" or "texts"; None without either.
        has_ids: Whether any vector has an event id.
    """
    if source is not None:
        named = sum(each.name is not None for each in descriptions)
        reason = "" if named else f"warning: {_UNNAMED[source]}: "
        progress(f"{reason}{named} of {len(descriptions)} clusters are named by {source}")
    if has_ids and not any(each.example_ids for each in descriptions):
        progress(
            "warning: no cluster keeps examples: no held-out vector has an event id of at most 64 bytes that "
            "can be printed; give shorter ids"
        )


def _name_by_labels(
    labels: Sequence[str | None], rows: NDArray[np.intp], ids: NDArray[np.intp], clusters: int
) -> list[str | None]:
    """Return the most frequent labels of each cluster."""
    printable = {label: _printable(label) for label in set(labels) if label is not None}
    counts: list[Counter[str]] = [Counter() for _ in range(clusters)]
    for row, cluster in zip(rows.tolist(), ids.tolist(), strict=True):
        if (label := labels[row]) is not None and printable[label]:
            counts[cluster][printable[label]] += 1
    sizes = np.bincount(ids, minlength=clusters).tolist()
    return [_join(_most_frequent(each, size)) for each, size in zip(counts, sizes, strict=True)]


def _most_frequent(counts: Counter[str], size: int) -> list[str]:
    """Return the labels that cover most of a cluster of this size, three at most; none if all are rare."""
    covered = 0
    chosen: list[str] = []
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_PARTS]:
        if covered >= _COVERED * counts.total() or count < _LEAST_SHARE * size:
            break
        chosen.append(label)
        covered += count
    return chosen


def _name_by_texts(
    texts: Sequence[str | None], rows: NDArray[np.intp], ids: NDArray[np.intp], clusters: int
) -> list[str | None]:
    """Return the words of the largest weight in the texts of each cluster, by TF-IDF of each text."""
    has_text = np.flatnonzero([texts[row] is not None for row in rows.tolist()])
    if len(has_text) > _MOST_TEXTS:
        has_text = np.random.default_rng(0).choice(has_text, _MOST_TEXTS, replace=False)
    cluster = ids[has_text]
    words = TfidfVectorizer(binary=True, stop_words="english", token_pattern=_WORD, min_df=_LEAST_TEXTS)
    try:
        weights = words.fit_transform([texts[row] for row in rows[has_text].tolist()])
    except ValueError:  # no word is in two texts
        return [None] * clusters
    terms, total, names = words.get_feature_names_out(), _sum(weights), []
    for number in range(clusters):
        own = weights[cluster == number]
        size, weight = own.shape[0], _sum(own)
        is_rare = _sum(own > 0) < _LEAST_SHARE * size
        is_common = weight * (len(cluster) - size) < _LEAST_RATIO * (total - weight) * size
        weight[is_rare | is_common] = 0
        # The sort is stable, so equal weights stay in alphabetical order.
        order = np.argsort(-weight, kind="stable")[: min(_MAX_PARTS, np.count_nonzero(weight))]
        names.append(_join(terms[order].tolist()))
    return names


def _sum(weights: Any) -> NDArray[np.float64]:
    """Return the sums of the columns of a sparse matrix."""
    return np.asarray(weights.sum(axis=0), np.float64).ravel()


def _first(
    event_ids: Sequence[str | None], rows: NDArray[np.intp], ids: NDArray[np.intp], groups: int
) -> list[dict[str, int]]:
    """Return the first distinct event ids of each group, five at most, with their rows."""
    first: list[dict[str, int]] = [{} for _ in range(groups)]
    for row, group in zip(rows.tolist(), ids.tolist(), strict=True):
        event_id = event_ids[row]
        if event_id is not None and len(first[group]) < MAX_CLUSTER_EXAMPLES and can_be_example(event_id):
            first[group].setdefault(event_id, row)
    return first


def _describe(found: dict[str, int], texts: Sequence[str | None] | None, text_bytes: int) -> dict[str, Any]:
    """Return the fields of examples, by their rows."""
    kept = () if texts is None or not text_bytes else (texts[row] or "" for row in found.values())
    return {
        "example_ids": tuple(found),
        "example_texts": tuple(shorten(_printable(text), text_bytes) for text in kept),
    }


def _printable(text: str) -> str:
    """Return a text in one line, without characters that cannot be printed."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _join(parts: Iterable[str]) -> str | None:
    """Return the parts as a name of at most 80 bytes; None if there is none."""
    return shorten(", ".join(parts), MAX_CLUSTER_NAME) or None
