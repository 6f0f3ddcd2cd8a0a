"""Producers: what a topic's mapping is, and a record of some events as the bytes of its encoding."""

import base64
import json
from collections.abc import Callable, Mapping
from struct import pack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftgauge.events.encodings.inference import response_class
from driftgauge.events.records import Headers
from driftgauge.events.schemas import Schema
from driftgauge.events.timestamps import format_timestamp
from tests.builders.references import CLUSTERS
from tests.events.golden_encodings import SCHEMA_ID, embedded_class, embedded_file, schema_text
from tests.events.schema_records import Schemas, avro, framed, serialized

VERSION = "v1"
_RENAMED = {"images": "pictures"}
"""What producers of mapped topics call a stream."""
FILTERED = "filtered"
REASONS: Mapping[str, str | None] = {
    "stream": "unknown_stream",
    "version": "wrong_model",
    "infinite": "non_finite",
    "future": "future",
    "past": "past",
    "dimension": None,
    "garbage": None,
    "tombstone": None,
}
"""What may be wrong with a record, and the reason of its refusal; None: it depends on the encoding."""


class Sent(NamedTuple):
    """A record as a plan names it: events of one stream, time and segment.

    Attributes:
        topic, partition: Where it is written.
        stream: The stream.
        time_ms: The event time.
        vectors: The number of the vector of each event, see `vector`.
        country: The segment, or none.
        fault: What is wrong with it, a key of `REASONS`, or `FILTERED`; empty where it is sound.
    """

    topic: str
    partition: int
    stream: str
    time_ms: int
    vectors: tuple[int, ...]
    country: str | None = None
    fault: str = ""

    @property
    def name(self) -> str:
        """The id that the producer gives a single event of the service's own contract."""
        return f"{self.stream}/{self.time_ms}/{self.vectors[0]}"


Content = tuple[bytes | None, Headers]
Vectors = NDArray[np.float32]
Write = Callable[[Sent, Vectors, str], Content]
"""Returns a record, given what is sent with the stream's name in the topic, its vectors and its version."""


def vector(number: int) -> Vectors:
    """Return a vector near the centroid of `number` modulo 4; half floats hold it exactly."""
    variant, cluster = divmod(number, CLUSTERS)
    found = np.full(CLUSTERS, (variant % 4) / 32, np.float32)
    found[cluster] = 1 - (variant % 8) / 16
    return found


def _json(vectors: Vectors) -> list[list[float]]:
    # No number of strict JSON is infinite, but one beyond float32 becomes so.
    return np.where(np.isinf(vectors), 1e39, vectors.astype(np.float64)).tolist()


def _base64(vectors: Vectors) -> str:
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def _own(sent: Sent, version: str, **embedding: object) -> Content:
    event = {
        "stream": sent.stream,
        "timestamp": sent.time_ms,
        **embedding,
        "model_version": version,
        "event_id": sent.name,
        "snippet": f"text of {sent.time_ms}",
        "segments": None if sent.country is None else {"country": sent.country},
        "numbers": {"cluster": sent.vectors[0] % CLUSTERS},
    }
    return json.dumps(event).encode(), ()


def _nested(sent: Sent, vectors: Vectors, version: str) -> Content:
    request = {"model": sent.stream, "version": version, "time": sent.time_ms * 1_000}
    document = {"request": request, "hits": _json(vectors), "user": {"country": sent.country}}
    return json.dumps(document).encode(), ()


def _cloudevent(sent: Sent, vectors: Vectors, version: str) -> Content:
    document = {
        "specversion": "1.0",
        "id": "1",
        "source": "/simulation",
        "type": "embedded",
        "time": format_timestamp(sent.time_ms),
        "data": {"vector": _base64(vectors), "stream": sent.stream, "version": version},
        **({} if sent.country is None else {"country": sent.country}),
    }
    return json.dumps(document).encode(), (("content-type", b"application/cloudevents+json"),)


def _in_headers(sent: Sent, version: str) -> Headers:
    named = {"model": sent.stream, "time": str(sent.time_ms), "version": version}
    named |= {} if sent.country is None else {"country": sent.country}
    return tuple((name, text.encode()) for name, text in named.items())


def _bytes(sent: Sent, vectors: Vectors, version: str) -> Content:
    return vectors.astype("<f2").tobytes(), _in_headers(sent, version)


def _inference(sent: Sent, vectors: Vectors, version: str) -> Content:
    response = response_class(model_name="encoder", model_version=version)
    response.outputs.add(name="embedding", datatype="FP32", shape=vectors.shape)
    response.raw_output_contents.append(vectors.astype("<f4").tobytes())
    return response.SerializeToString(), _in_headers(sent, version)


def _avro(sent: Sent, vectors: Vectors, version: str) -> Content:
    value = {"stream": sent.stream, "at": sent.time_ms, "country": sent.country}
    content = avro(value | {"vector": vectors.astype("<f4").tobytes()}, json.loads(schema_text()))
    return framed(content, SCHEMA_ID), _in_headers(sent, version)


_EMBEDDED = embedded_class()


def _protobuf(sent: Sent, vectors: Vectors, version: str) -> Content:
    segments = {} if sent.country is None else {"country": sent.country}
    content = vectors.astype("<f4").tobytes()
    message = _EMBEDDED(stream=sent.stream, vector=content, segments=segments)
    message.at.FromMilliseconds(sent.time_ms)
    # The message is the first of its file.
    return framed(b"\0" + message.SerializeToString(), SCHEMA_ID + 1), _in_headers(sent, version)


SCHEMAS = Schemas(_1=Schema(schema_text()), _2=Schema(serialized(embedded_file())))
_BYTES = {"dimension": CLUSTERS}
_HEADERS = {name: {"header": name} for name in ("time", "version", "country")}


def _mapping(encoding: str, stream: Any, embedding: Any, timestamp: Any, **fields: Any) -> dict[str, Any]:
    source = {"path": stream} if isinstance(stream, str) else stream
    return {
        "encoding": encoding,
        "embedding": embedding,
        "timestamp": timestamp,
        "model_version": fields["version"],
        "stream": {**source, "rename": {theirs: ours for ours, theirs in _RENAMED.items()}},
        "segments": {"country": fields["country"]},
        "where": [{"header": "environment", "not_in": ["test"]}],
    }


_OF_HEADERS = {"timestamp": _HEADERS["time"], "version": _HEADERS["version"], "country": _HEADERS["country"]}
ENCODINGS: Mapping[str, tuple[dict[str, Any] | None, Write]] = {
    "own": (None, lambda sent, vectors, version: _own(sent, version, embedding=_json(vectors)[0])),
    "own_base64": (
        None,
        lambda sent, vectors, version: _own(sent, version, embedding_b64=_base64(vectors)),
    ),
    "nested": (
        _mapping(
            *("json", "request.model", "hits", {"path": "request.time", "unit": "us"}),
            version="request.version",
            country="user.country",
        ),
        _nested,
    ),
    "cloudevents": (
        _mapping(
            *("cloudevents", "data.stream", {"path": "data.vector", **_BYTES}, {"path": "time"}),
            version="data.version",
            country="country",
        ),
        _cloudevent,
    ),
    "bytes": (
        _mapping("bytes", {"header": "model"}, {"record": "value", "dtype": "f16", **_BYTES}, **_OF_HEADERS),
        _bytes,
    ),
    "inference": (
        _mapping(
            *("inference", {"header": "model"}),
            {"path": "outputs[name=embedding].data", "shape": "outputs[name=embedding].shape"},
            **_OF_HEADERS | {"version": "model_version"},
        ),
        _inference,
    ),
    "avro": (
        _mapping(
            *("avro", "stream", {"path": "vector", **_BYTES}, "at"),
            version=_HEADERS["version"],
            country="country",
        ),
        _avro,
    ),
    "protobuf": (
        _mapping(
            *("protobuf", "stream", {"path": "vector", **_BYTES}, "at"),
            version=_HEADERS["version"],
            country="segments.country",
        ),
        _protobuf,
    ),
}
"""By name: the topic's mapping, and the encoder. None: the service's own contract, of one vector a record."""


def encode(encoding: str, sent: Sent) -> list[tuple[Content, Sent]]:
    """Return the records of some events, several where one record holds one vector, each with its events."""
    mapping, write = ENCODINGS[encoding]
    if mapping is None and sent.fault == FILTERED:
        return []
    if mapping is None and len(sent.vectors) > 1:
        alone = (sent._replace(vectors=(number,)) for number in sent.vectors)
        return [each for one in alone for each in encode(encoding, one)]
    vectors = np.stack([vector(number) for number in sent.vectors])
    if sent.fault == "infinite":
        vectors[0, 0] = np.inf
    if sent.fault == "dimension":
        vectors = vectors[:, : CLUSTERS - 1]
    stream = "nobody" if sent.fault == "stream" else sent.stream
    version = "v0" if sent.fault == "version" else VERSION
    named = stream if mapping is None else _RENAMED.get(stream, stream)
    value, headers = write(sent._replace(stream=named), vectors, version)
    if sent.fault == FILTERED:
        headers = (*headers, ("environment", b"test"))
    if sent.fault == "garbage":
        value = pack(">I", 0xFF7BFE7B) + b"{"
    if sent.fault == "tombstone":
        value = None
    return [((value, headers), sent)]


def inputs(encodings: Mapping[str, str]) -> dict[str, Any]:
    """Return the section `inputs` of a configuration for these encodings of topics."""
    return {topic: own for topic, encoding in encodings.items() if (own := ENCODINGS[encoding][0])}
