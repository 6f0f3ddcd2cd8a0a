"""Which fields of a topic's records name the stream, the model's version and the event, and segments."""

import re
from collections.abc import Callable, Sequence

from driftgauge.config.fields import STREAM_NAME
from driftgauge.inspection.proposed_vector import ProposedVector
from driftgauge.inspection.topic_fields import TopicField

__all__ = ["FEW", "find_named", "is_segment", "stream_names"]

FEW = 20
"""The most values of a field that tells records apart."""
# The letters of names, the likeliest first, and what the values of such a field are like.
_NAMED: dict[str, tuple[Sequence[str], Callable[[Sequence[str]], bool]]] = {
    "stream": (
        ("stream", "streamname", "modelname", "encodername", "inferenceservicename", "collection"),
        lambda texts: len(set(texts)) <= FEW and bool(stream_names(texts)),
    ),
    "model_version": (
        (
            "modelversion",
            "modelrevision",
            "encoderversion",
            "encoderrevision",
            "xmodelversion",
            "xmodel",
            "embeddingmodel",
            "model",
        ),
        lambda texts: len(set(texts)) <= FEW,
    ),
    # A row is changed, or a call logged, more than once.
    "event_id": (
        ("eventid", "id", "uuid", "messageid", "requestid", "key"),
        lambda texts: 2 * len(set(texts)) > len(texts),
    ),
}


def stream_names(texts: Sequence[str]) -> list[str]:
    """Return those of texts that are names of streams."""
    return sorted({text for text in texts if re.fullmatch(STREAM_NAME, text)})


def find_named(kind: str, fields: Sequence[TopicField], vector: ProposedVector) -> TopicField | None:
    """Return the field that is a stream, a model version or an id by its name and its values."""
    names, is_fit = _NAMED[kind]
    parent = str(vector.field).rpartition(".")[0]
    found = [
        each
        for each in fields
        if each.letters in names and len(texts := each.texts()) >= vector.expects(each) and is_fit(texts)
    ]
    # The nearest to the vector.
    return min(
        found,
        key=lambda e: (e.is_past, str(e).rpartition(".")[0] != parent, names.index(e.letters)),
        default=None,
    )


def is_segment(found: TopicField) -> bool:
    """Return whether a field has few values, so that records can be told apart by it."""
    texts = found.texts() if all(isinstance(value, str | bool) for _, value in found.values) else []
    return 1 < len(set(texts)) <= min(FEW, len(texts) // 2)
