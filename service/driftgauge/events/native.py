"""Reading of records in the service's own contract, one JSON event each: a fast path and an exact path.

`read_fast` accepts only values that are certainly events. All others go to `read_exact`, which applies the
contract itself. It accepts every value that `read_fast` accepts, with the same bits.
"""

from collections.abc import Sequence

from driftgauge.events.array_parser import IS_AVAILABLE, ArrayParser
from driftgauge.events.contract import read_json, validate_event
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.rows import Row, has_valid_options, is_stream, may_hold_bool, pack_list
from driftgauge.events.timestamps import LAST_MS, read_timestamp
from driftgauge.events.vectors import F32, F64, read_base64

__all__ = ["NativeReader", "read_exact", "read_fast"]


_FLOAT_BYTES = 4


class NativeReader:
    """Reads one event a record; a `Reader`. One thread's, as its parser is."""

    unit: str = "ms"
    stream: str | None = None

    def __init__(self) -> None:
        self._parser = ArrayParser(["embedding"]) if IS_AVAILABLE else None

    def read_all(self, records: Sequence[RawRecord]) -> None:
        """Return None: values are parsed one by one."""

    def read(self, record: RawRecord) -> Row:
        """Return the event of a record.

        Raises:
            EventError: The record has no value, is not JSON, or as `read_exact`.
        """
        raw = record.value()
        if raw is None:
            raise EventError(Reason.UNDECODABLE, "no value (a tombstone)")
        if self._parser is not None and (document := self._parser.parse(raw)) is not None:
            row = read_fast(document, raw)
            if row is not None:
                return row
        document = read_json(raw)
        row = read_fast(document, raw)
        if row is None:
            try:
                row = read_exact(document)
            except EventError as error:
                stream = document.get("stream") if isinstance(document, dict) else None
                error.stream = stream if isinstance(stream, str) else None
                raise
        return row


def read_exact(document: object) -> Row:
    """Return the event of a JSON value.

    Raises:
        EventError: The value is no valid event; the detail names the fault.
    """
    event = validate_event(document)
    vector = event.packed_vector()
    return event.stream, event.timestamp, vector, F32, event.event_id, event.model_version, event.segments


def read_fast(document: object, raw: bytes) -> Row | None:
    """Return the event of a JSON value if it certainly is one, else None.

    Args:
        document: The value, by orjson or `ArrayParser`.
        raw: The value's text.
    """
    if type(document) is not dict:
        return None
    get = document.get
    stream, time_ms = get("stream"), get("timestamp")
    if type(stream) is not str or not is_stream(stream):
        return None
    # The usual types are told apart in place: a call takes as long as all else that a field needs.
    try:
        if type(time_ms) is not int or not 0 <= time_ms <= LAST_MS:
            time_ms = read_timestamp(time_ms)
        vector = _pack_vector(get("embedding"), get("embedding_b64"), raw)
    except ValueError:
        return None
    if not vector:
        return None
    version, event_id, segments = get("model_version"), get("event_id"), get("segments")
    has_options = version is not None or event_id is not None or segments is not None
    if has_options and not has_valid_options(version, event_id, segments):
        return None
    return stream, time_ms, vector, F64 if type(vector) is memoryview else F32, event_id, version, segments


def _pack_vector(numbers: object, text: object, raw: bytes) -> bytes | memoryview | None:
    if text is None and type(numbers) is memoryview:
        return numbers
    if text is None and type(numbers) is list:
        return pack_list(numbers, may_be_bool=may_hold_bool(raw))
    if numbers is None and type(text) is str:
        packed = read_base64(text)
        size = len(packed)
        # Whole numbers, and no more padding than they need.
        if not size % _FLOAT_BYTES and len(text) == (size + 2) // 3 * 4:
            return packed
    return None
