"""Reading of records with one vector, in less than half of the general path's time."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import (
    RECORD_ID,
    Row,
    Schedule,
    has_valid_options,
    in_force,
    may_hold_bool,
    pack_list,
)
from driftgauge.events.sources import Getter, compile_source, read_time, to_optional_text
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import F32, F64, VectorFormat, read_base64, to_format

__all__ = ["SingleReader", "compile_single"]

SingleReader: TypeAlias = Callable[[RawRecord, object, Mapping[str, Schedule]], Row | None]
"""Returns the event of a record, given its decoded value, if it certainly is one, else None."""


def compile_single(
    settings: InputSettings,
    compile_field: Callable[[Source], Getter] = compile_source,
    number_format: VectorFormat | None = None,
) -> SingleReader:
    """Return the function that reads the records of a mapping with one vector, without a shape.

    It accepts only records that certainly are an event; the others are for the general path. The settings are
    variables of the function, and the usual types are told apart in place, because each call or attribute
    takes as long as all else that a field needs.

    Args:
        settings: The mapping.
        compile_field: Returns the function that gets the field of a source.
        number_format: The format of numbers in bytes, if it is not that of the mapping.
    """
    (source,) = settings.vectors
    get_stream, get_vector = compile_field(source.stream), compile_field(source.embedding)
    get_time, time_source = compile_field(settings.timestamp), settings.timestamp
    is_ms, is_json = settings.timestamp.unit == "ms", settings.encoding == "json"
    own_number = number_format or to_format(source.embedding)
    get_id = None if settings.event_id is None else compile_field(settings.event_id)
    get_version = None if settings.model_version is None else compile_field(settings.model_version)
    get_segments = {key: compile_field(each) for key, each in settings.segments.items()}
    has_options = bool(get_id or get_version or get_segments)

    def read(record: RawRecord, value: object, schedules: Mapping[str, Schedule]) -> Row | None:
        number = own_number
        event_id = version = segments = None
        try:
            stream, time_ms = get_stream(record, value), get_time(record, value)
            vector = get_vector(record, value)
            if type(stream) is not str:
                stream = to_optional_text(stream)
            if type(time_ms) is not int or not is_ms or not 0 <= time_ms <= LAST_MS:
                time_ms = read_time(time_source, time_ms)
            if has_options:
                event_id = None if get_id is None else to_optional_text(get_id(record, value))
                version = None if get_version is None else to_optional_text(get_version(record, value))
                if get_segments:
                    found = ((key, to_optional_text(get(record, value))) for key, get in get_segments.items())
                    segments = {key: text for key, text in found if text is not None}
            if type(vector) is str and not vector.startswith("["):
                vector = read_base64(vector)
        except (ValueError, EventError):
            return None
        if stream is None or (schedule := schedules.get(stream)) is None:
            return None
        expected = schedule[0] if time_ms >= schedule[0].from_ms else in_force(schedule, time_ms)
        if type(vector) is memoryview:
            # `ArrayParser` read the numbers as doubles.
            number = F64
        elif type(vector) is list and len(vector) == expected.dimension:
            may_be_bool = not is_json or may_hold_bool(record.value() or b"")
            vector, number = pack_list(vector, expected, may_be_bool=may_be_bool), F32
        if type(vector) is not bytes and type(vector) is not memoryview:
            return None
        if len(vector) != expected.dimension * number.size:
            return None
        if has_options and not has_valid_options(version, event_id, segments, expected):
            return None
        return (
            expected,
            number,
            time_ms,
            vector,
            RECORD_ID if event_id is None else event_id,
            segments,
        )

    return read
