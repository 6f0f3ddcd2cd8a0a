"""Reading of JSON events by simdjson, where it is installed: half of orjson's time for long vectors.

The parser keeps numbers as doubles and never makes Python floats of them. It reads some texts otherwise
than orjson: of duplicate keys it gives the first, it accepts a byte order mark, and it flattens nested
arrays. A text that may be one of these is left to the other paths, as is all that is not certainly an event.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from driftgauge.events.rows import Row, Schedule, has_valid_options, in_force
from driftgauge.events.timestamps import read_timestamp
from driftgauge.events.vectors import F64

__all__ = ["IS_AVAILABLE", "SimdReader"]

IS_AVAILABLE = find_spec("simdjson") is not None
"""Whether simdjson is installed; it is an extra."""

_DOUBLE_BYTES = 8
_OPTIONS = ("model_version", "event_id", "segments", "embedding_b64")


class SimdReader:
    """Reads events in the service's own contract; one thread's, because the parser keeps its last text."""

    def __init__(self) -> None:
        import simdjson  # noqa: PLC0415 - an extra

        self._parser = simdjson.Parser()

    def read(self, raw: bytes, streams: Mapping[str, Schedule]) -> Row | None:
        """Return the event of a JSON text with one array if it certainly is one, else None."""
        # find() takes a tenth of the time of count(). A backslash may stand in a duplicate of a key, or in a
        # lone surrogate.
        array = raw.find(b"[")
        if array < 0 or raw.find(b"[", array + 1) >= 0 or raw.find(b"\\") >= 0 or raw[:1] != b"{":
            return None
        try:
            document = self._parser.parse(raw)
            return self._read(document, streams)
        except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, OverflowError):
            return None

    def _read(self, document: Any, streams: Mapping[str, Schedule]) -> Row | None:
        names = list(document.keys())
        fields = set(names)
        if len(fields) < len(names):
            return None
        # Asking for a missing field takes longer than the rest: the parser throws an exception.
        version, event_id, segments, text = (document[name] if name in fields else None for name in _OPTIONS)
        schedule = streams.get(document["stream"])
        if schedule is None or text is not None:
            return None
        time_ms = read_timestamp(document["timestamp"])
        expected = in_force(schedule, time_ms)
        vector = memoryview(document["embedding"].as_buffer(of_type="d"))
        if vector.nbytes != expected.dimension * _DOUBLE_BYTES:
            return None
        if segments is not None:
            segments = segments.as_dict()
        if not has_valid_options(version, event_id, segments, expected):
            return None
        return expected, F64, time_ms, vector, event_id, segments
