"""The fast paths of mappings: records with one vector, and polls of records that are nothing but a vector."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

from pybase64 import b64decode

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.contract import MAX_TEXT
from driftgauge.events.records import NO_TIMESTAMP, RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import (
    RECORD_ID,
    RecordId,
    Row,
    are_segments,
    is_stream,
    may_hold_bool,
    pack_list,
)
from driftgauge.events.sources import compile_source, read_time, to_optional_text
from driftgauge.events.timestamps import LAST_MS, read_timestamp
from driftgauge.events.vectors import F32, F64, VectorFormat, read_base64, to_format

__all__ = ["SingleReader", "compile_bytes", "compile_own", "compile_single"]

SingleReader: TypeAlias = Callable[[RawRecord, object], Row | None]
"""Returns the event of a record, given its decoded value, if it certainly is one, else None."""


def compile_single(
    settings: InputSettings, get_segments: Callable[[RawRecord, object], object] | None
) -> SingleReader:
    """Return the function that reads the records of a mapping with one vector, without a shape.

    It accepts only records that certainly are an event; the others are for the general path.

    Args:
        settings: The mapping.
        get_segments: Returns an event's segments by key; None where the mapping has none.
    """
    (source,) = settings.vectors
    return _compile(
        _compile_taker(
            source.stream,
            settings.timestamp,
            source.embedding,
            settings.event_id,
            settings.model_version,
            settings.snippet,
        ),
        get_segments,
        to_optional_text,
        partial(read_time, settings.timestamp),
        is_ms=settings.timestamp.unit == "ms",
        number=to_format(source.embedding),
        is_json=settings.shows_lists,
        rename=source.stream.rename,
        default_id=RECORD_ID,
    )


def compile_own() -> SingleReader:
    """Return the function that reads the JSON values of the service's own contract.

    It accepts only values that certainly are an event; the others are for the contract itself.
    """
    return _compile(
        _take_own,
        None,
        _require_text,
        read_timestamp,
        is_ms=True,
        number=F32,
        is_json=True,
        rename={},
        default_id=None,
    )


def _compile(
    take: Callable[[RawRecord, Any], tuple[Any, ...]],
    get_segments: Callable[[RawRecord, Any], Any] | None,
    to_text: Callable[[object], str | None],
    to_ms: Callable[[object], int],
    *,
    is_ms: bool,
    number: VectorFormat,
    is_json: bool,
    rename: Mapping[str, str],
    default_id: RecordId | None,
) -> SingleReader:
    """Return the function that makes an event of the fields that `take` finds, the segments as they are.

    The settings are variables of the function, and the usual types are told apart in place, because each call
    or attribute takes as long as all else that a field needs.
    """
    own_number, size = number, number.size

    def read(record: RawRecord, value: object) -> Row | None:  # noqa: PLR0911, PLR0912 - in place, see above
        try:
            stream, time_ms, vector, event_id, version, snippet, segments = take(record, value)
            if type(stream) is not str:
                stream = to_text(stream)
            if type(time_ms) is not int or not is_ms or not 0 <= time_ms <= LAST_MS:
                time_ms = to_ms(time_ms)
            if get_segments is not None:
                segments = get_segments(record, value)
            if event_id is not None and type(event_id) is not str:
                event_id = to_text(event_id)
            if version is not None and type(version) is not str:
                version = to_text(version)
            if snippet is not None and type(snippet) is not str:
                snippet = to_text(snippet)
            if type(vector) is str and not vector.startswith("["):
                vector = read_base64(vector)
        except (ValueError, EventError):
            return None
        if rename and stream is not None:
            stream = rename.get(stream, stream)
        if stream is None or not is_stream(stream):
            return None
        number = own_number
        if type(vector) is bytes:
            if len(vector) % size:
                return None
        elif type(vector) is memoryview:
            number = F64 if vector.itemsize == 8 else F32  # noqa: PLR2004 - a double's
        elif type(vector) is list:
            may_be_bool = not is_json or may_hold_bool(record.value() or b"")
            vector, number = pack_list(vector, may_be_bool=may_be_bool), F32
        else:
            return None
        if not vector or (segments is not None and not are_segments(segments)):
            return None
        if (event_id is not None and len(event_id) > MAX_TEXT) or (version and len(version) > MAX_TEXT):
            return None
        return (
            stream,
            time_ms,
            vector,
            number,
            default_id if event_id is None else event_id,
            version,
            segments,
            snippet,
        )

    return read


def _take_own(_: RawRecord, value: Any) -> tuple[Any, ...]:
    """Return the fields of an event of the own contract; raise ValueError where it is not certainly one."""
    if type(value) is not dict:
        raise ValueError
    get = value.get
    vector, text = get("embedding"), get("embedding_b64")
    if text is not None:
        if vector is not None or type(text) is not str:
            raise ValueError
        # As `read_base64`, without its call. No more padding than the bytes need.
        vector = b64decode(text, None, True)  # noqa: FBT003
        if len(text) != (len(vector) + 2) // 3 * 4:
            raise ValueError
    elif type(vector) is str:
        raise ValueError
    found = get("stream"), get("timestamp"), vector, get("event_id"), get("model_version"), get("snippet")
    return *found, get("segments")


def _require_text(value: object) -> str | None:
    if value is not None and type(value) is not str:
        raise ValueError
    return value


def _compile_taker(*sources: Source | None) -> Callable[[RawRecord, Any], tuple[Any, ...]]:
    """Return the function that takes six fields of a record, None where there is no source, and None."""
    # A variable for each field, since a loop would take twice the time.
    names = [None if source is None else _field_name(source) for source in sources]
    k, m, n, o, p, q = names
    are_names = "" not in names
    a, b, c, d, e, f = (_get_nothing if source is None else compile_source(source) for source in sources)

    def take(record: RawRecord, value: Any) -> tuple[Any, ...]:
        if are_names and type(value) is dict:
            # The usual case, in a third of the time. No field has the name None.
            get = value.get
            return get(k), get(m), get(n), get(o), get(p), get(q), None
        return (
            a(record, value),
            b(record, value),
            c(record, value),
            d(record, value),
            e(record, value),
            f(record, value),
            None,
        )

    return take


def _get_nothing(_: RawRecord, __: object) -> None:
    return None


def _field_name(source: Source) -> str:
    """Return the name of the field that a source is; empty where it is none."""
    first, *rest = ("",) if source.path is None else parse_path(source.path)
    return first if isinstance(first, str) and not rest else ""


def compile_bytes(
    settings: InputSettings,
) -> Callable[[Sequence[RawRecord]], Iterable[Row] | None] | None:
    """Return the function that reads polls of a mapping in two thirds of the time, None where there is none.

    The function returns None for a poll with a record that is not certainly an event. The event of a record
    is its value, in a constant stream, at the record's time, without optional fields.
    """
    vector = settings.vectors[0]
    stream = vector.stream.constant
    is_plain = (
        settings.encoding == "bytes"
        and len(settings.vectors) == 1
        and stream is not None
        and vector.embedding.record == "value"
        and not vector.embedding.may_be_several
        and settings.timestamp.record == "timestamp"
    )
    optional = settings.event_id or settings.model_version or settings.snippet or settings.segments
    if stream is None or not is_stream(stream) or not is_plain or settings.where or optional:
        return None
    number = to_format(vector.embedding)

    def read(records: Sequence[RawRecord]) -> Iterable[Row] | None:
        kinds, times_ms = zip(*[record.timestamp() for record in records], strict=True)
        if NO_TIMESTAMP in kinds or min(times_ms) < 0 or max(times_ms) > LAST_MS:
            return None
        values = [record.value() for record in records]
        if None in values or any(size % number.size or not size for size in set(map(len, values))):  # type: ignore[arg-type]
            return None
        return zip(
            repeat(stream),
            times_ms,
            values,
            repeat(number),
            repeat(RECORD_ID),
            repeat(None),
            repeat(None),
            repeat(None),
        )

    return read
