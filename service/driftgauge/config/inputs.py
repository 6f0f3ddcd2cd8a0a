"""The settings of inputs: the encoding of a topic's records, and where an event's fields are in them."""

from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from driftgauge.config.fields import NOT_EMPTY, NumberName, Section, StreamName, require
from driftgauge.config.paths import Every, Step, parse_path
from driftgauge.core.counting.numbers import MAX_NUMBERS

__all__ = [
    "ENCODINGS",
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "Condition",
    "EncodingTraits",
    "InputSettings",
    "NumberSource",
    "Source",
    "StreamSource",
    "TimeSource",
    "VectorSettings",
    "VectorSource",
]

MAX_SEGMENTS = 16
"""The maximal number of segments of an event."""

MAX_TEXT = 256
"""The maximal number of characters of a short text in an event."""


class EncodingTraits(NamedTuple):
    """What configurations need to know of an encoding.

    Attributes:
        needs_registry: The schemas of its records are in a schema registry.
        has_paths: Its values have fields.
        timestamp: Where the event time is by default.
        library: The library of an extra that reads it; None if no extra is needed.
    """

    needs_registry: bool = False
    has_paths: bool = True
    timestamp: Mapping[str, str] | None = None
    library: str | None = None


ENCODINGS: Mapping[str, EncodingTraits] = {
    "json": EncodingTraits(),
    "bytes": EncodingTraits(has_paths=False),
    "avro": EncodingTraits(needs_registry=True, library="fastavro"),
    "protobuf": EncodingTraits(needs_registry=True, library="google.protobuf"),
    "cloudevents": EncodingTraits(timestamp={"path": "time", "or": "record"}),
    "inference": EncodingTraits(library="google.protobuf"),
}
"""The encodings by name."""

# Float32 represents the scale, and its products with all int8 numbers.
_MIN_SCALE, _MAX_SCALE = 1e-30, 1e30


def _check_path(path: str) -> str:
    require(parse_path(path).count(Every()) <= 1, "a path has [*] once at most")
    return path


def _require_one(section: Section, *fields: str) -> None:
    given = sum(getattr(section, field) is not None for field in fields)
    *names, last = (type(section).model_fields[field].alias or field for field in fields)
    require(given == 1, f"give exactly one of {', '.join(names)} and {last}")


_Path = Annotated[str, AfterValidator(_check_path)]
_Values = Annotated[tuple[str | int | bool, ...], Field(strict=False), NOT_EMPTY]


class Source(Section):
    """Where a field is in a record: exactly one of these. A text is the short form of `path`.

    Attributes:
        path: A path into the decoded value, such as `payload.items[0].id`, `outputs[name=embedding].data` or
            `payload[json].id` (`payload` is a text that holds JSON). `data[*].id` reads every item of
            the list `data`: each is an event, and its other fields with `[*]` are read from the same item.
        header: The name of a header. If it occurs more than once, the last one counts.
        record: A part of the record: its key as text, its decoded value as a whole, or its timestamp.
        constant: The same text for every event.
    """

    path: _Path | None = None
    header: str | None = None
    record: Literal["key", "value", "timestamp"] | None = None
    constant: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, source: object) -> object:
        return {"path": source} if isinstance(source, str) else source

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        _require_one(self, "path", "header", "record", "constant")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The class's serializer covers subclasses, whose aliases the handler applies.
        fields = {info.serialization_alias or name: name for name, info in type(self).model_fields.items()}
        return {
            name: value for name, value in serialize(self).items() if fields[name] in self.model_fields_set
        }


class StreamSource(Source):
    """Where the stream's name is.

    Attributes:
        rename: The stream for a name in the records; names that are not listed stay as they are.
    """

    constant: StreamName | None = None
    rename: dict[str, StreamName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_rename(self) -> Self:
        require(
            not self.rename or self.constant is None,
            "rename is for names in records; write the stream itself as constant",
        )
        return self

    @property
    def known(self) -> set[str]:
        """The streams that the mapping itself names."""
        return {*self.rename.values(), *filter(None, [self.constant])}


class TimeSource(Source):
    """Where the event time is.

    Attributes:
        unit: The unit of a number; a text may also be an RFC 3339 date-time.
        assume_utc: Whether a date-time without an offset is in UTC. Otherwise it is refused.
        fallback: What is read if the field is missing: the record's timestamp.
    """

    unit: Literal["s", "ms", "us", "ns"] = "ms"
    assume_utc: bool = False
    fallback: Literal["record"] | None = Field(default=None, alias="or")

    @model_validator(mode="before")
    @classmethod
    def _require(cls, source: object) -> object:
        require(
            source is not None,
            "say where the event time is: a field, a header, or {record: timestamp} if the producer "
            "sets the record's time to the event's",
        )
        return source

    @model_validator(mode="after")
    def _check_record(self) -> Self:
        require(
            self.record != "timestamp" or self.model_fields_set == {"record"},
            "the record's timestamp is in ms; leave unit, assume_utc and or out",
        )
        return self


class NumberSource(Source):
    """Where a number beside the vector is."""


class VectorSource(Source):
    """Where a vector is, or several of one record.

    A list holds numbers, or lists of numbers, which are several vectors. Bytes, and text as base64, hold
    little-endian numbers. Text that starts with [ is a list in JSON, as pgvector writes one.

    Attributes:
        dtype: The type of a number in bytes.
        scale: An int8 q stands for `scale` x (q - `zero_point`).
        zero_point: As for `scale`.
        shape: The path of the shape, as in the Open Inference Protocol: all but the last axis count vectors.
        dimension: The length of a vector, if bytes or a flat list hold vectors one after another.
    """

    dtype: Literal["f32", "f16", "bf16", "f64", "int8"] = "f32"
    scale: Annotated[float, Field(ge=_MIN_SCALE, le=_MAX_SCALE)] = 1.0
    zero_point: Annotated[int, Field(ge=-128, le=127)] = 0
    shape: _Path | None = None
    dimension: Annotated[int, Field(ge=1)] | None = None

    @property
    def shape_source(self) -> Source | None:
        """Where the shape is."""
        return None if self.shape is None else Source(path=self.shape)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        require(
            self.dtype == "int8" or self.model_fields_set.isdisjoint({"scale", "zero_point"}),
            "scale and zero_point belong to dtype int8",
        )
        require(
            self.shape is None or self.dimension is None,
            "shape and dimension both say how vectors are cut; give only one",
        )
        return self


class VectorSettings(Section):
    """A vector of each record, and its stream.

    Attributes:
        stream: Where the stream's name is.
        embedding: Where the vector is.
    """

    stream: StreamSource
    embedding: VectorSource


class Condition(Source):
    """A condition on a record: a source and exactly one test of its value.

    Attributes:
        values: The value of the source is one of these.
        not_in: The value of the source is none of these, or is missing or no text.
        exists: Whether the source has a value other than null.
    """

    values: _Values | None = Field(None, alias="in")
    not_in: _Values | None = None
    exists: bool | None = None

    @model_validator(mode="after")
    def _require_one_test(self) -> Self:
        _require_one(self, "values", "not_in", "exists")
        return self


class InputSettings(Section):
    """How the records of one topic are read.

    Attributes:
        encoding: The encoding of values: JSON; bytes, which are the vector; Avro or Protobuf behind a schema
            registry; CloudEvents; or the Open Inference Protocol's ModelInferResponse in Protobuf.
        where: Conditions that a record must meet. Other records are filtered, which is no error.
        timestamp: Where the event time is. Of CloudEvents by default `{path: time, or: record}`.
        event_id: Where the event's id is; by default, and if it is missing, `topic-partition-offset`.
        model_version: Where the model's version is, if it is in the record.
        snippet: Where the event's text is; see `snippet_bytes` of a stream.
        segments: Where the segments are, by key; 16 keys at most.
        numbers: Where the numbers are that the topic's streams name, by name; 2 at most.
        vectors: The vectors of a record, each with its stream.
    """

    LONG_FORM = "vectors"
    SHORT_FORMS: ClassVar[Mapping[str, str]] = {"stream": "stream", "embedding": "embedding"}

    encoding: Literal["json", "bytes", "avro", "protobuf", "cloudevents", "inference"] = "json"
    where: Annotated[tuple[Condition, ...], Field(strict=False)] = ()
    timestamp: TimeSource
    event_id: Source | None = None
    model_version: Source | None = None
    snippet: Source | None = None
    segments: Annotated[
        dict[Annotated[str, Field(max_length=MAX_TEXT)], Source], Field(max_length=MAX_SEGMENTS)
    ] = Field(default_factory=dict)
    numbers: Annotated[dict[NumberName, NumberSource], Field(max_length=MAX_NUMBERS)] = Field(
        default_factory=dict
    )
    vectors: Annotated[tuple[VectorSettings, ...], Field(strict=False), NOT_EMPTY]

    @property
    def traits(self) -> EncodingTraits:
        """What is to be known of the encoding."""
        return ENCODINGS[self.encoding]

    @property
    def list_path(self) -> tuple[Step, ...] | None:
        """The path of the list of which every item is an event; None if a record is one."""
        return next((path for source in self.sources if (path := _find_list(source.path)) is not None), None)

    @property
    def only_streams(self) -> frozenset[str] | None:
        """The only streams of the topic; None if its records name their streams."""
        names = {vector.stream.constant for vector in self.vectors}
        return None if None in names else frozenset(filter(None, names))

    @property
    def sources(self) -> list[Source]:
        """The sources of an event's fields, and of the shapes of its vectors."""
        vectors = [(each.embedding, each.stream, each.embedding.shape_source) for each in self.vectors]
        others = self.timestamp, self.event_id, self.model_version, self.snippet
        by_name = *self.segments.values(), *self.numbers.values()
        return [source for source in (*chain(*vectors), *others, *by_name) if source is not None]

    @model_validator(mode="before")
    @classmethod
    def _preset_timestamp(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        encoding = settings.get("encoding", "json")
        traits = ENCODINGS.get(encoding) if isinstance(encoding, str) else None
        return {"timestamp": traits and traits.timestamp, **settings}

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        paths = [source.path for source in (*self.sources, *self.where) if source.path is not None]
        require(
            not paths or self.traits.has_paths,
            f"encoding {self.encoding} has no paths ({', '.join(paths)}); use record: value or headers",
        )
        return self

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        lists = {_find_list(source.path) for source in self.sources} - {None}
        require(len(lists) <= 1, "all paths with [*] need the same list before it")
        embeddings = {_find_list(each.embedding.path) for each in self.vectors}
        require(
            not lists or None not in embeddings,
            "the events of a list are its vectors: write [*] in the path of embedding as well",
        )
        listed = [each.path for each in self.where if _find_list(each.path) is not None]
        require(
            not listed, f"conditions are on records, not on items of a list ({', '.join(map(str, listed))})"
        )
        return self


def _find_list(path: str | None) -> tuple[Step, ...] | None:
    """Return the steps to the list of which a path reads every item; None if it reads no such list."""
    steps = () if path is None else parse_path(path)
    return steps[: steps.index(Every())] if Every() in steps else None
