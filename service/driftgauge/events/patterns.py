"""Patterns: regular expressions of records that certainly are an event, learned from the records before them.

Records of one schema differ in their fields, and many not in their layout. A pattern matches the values of
one layout, and has a group for each field that the mapping reads, so no other field becomes an object. A
value that matches no pattern is decoded by the library of its encoding, and its pattern is learned.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.layouts import Kind, Layout, Learner, Path, UnusualLayout, path_of
from driftgauge.events.mapped_single import SingleReader, compile_single
from driftgauge.events.records import RawRecord
from driftgauge.events.rows import Outcome, Row, Schedule

__all__ = ["PatternReader", "compile_patterns"]

_log = logging.getLogger(__name__)

# Each takes a thirtieth of the time of the library to not match.
_MOST_PATTERNS = 8
# To compile the choice of a text's lengths takes as long as to decode a thousand records. The misses before
# the next pattern grow with the square of those learned, so that a topic of ever new layouts costs little.
_MISSES_A_PATTERN = 1_000
# Where so many more records of a run match no pattern than match one, its other records are not compared.
_PATIENCE = 50


class _Pattern(NamedTuple):
    match: Callable[[bytes], re.Match[bytes] | None]
    checks: Sequence[tuple[int, Callable[[bytes], object]]]
    read: SingleReader


class PatternReader:
    """Reads records by the patterns of earlier ones."""

    def __init__(self, settings: InputSettings, kinds: Mapping[Path, Kind], learn: Learner) -> None:
        """Create a reader without a pattern; see `compile_patterns`."""
        self._settings = settings
        self._kinds = kinds
        self._learn = learn
        self._patterns: list[_Pattern] = []  # the last one that matched is the first
        self._learned = 0
        self._misses = 0

    def read_each(
        self,
        records: Iterable[RawRecord],
        schedules: Mapping[str, Schedule],
        read_other: Callable[[RawRecord, Mapping[str, Schedule]], Outcome],
    ) -> Iterator[Outcome]:
        """Yield the outcome of each record of a run.

        Args:
            records: The records.
            schedules: The schedules of the streams.
            read_other: Reads a record of which no pattern is sure.
        """
        patience = _PATIENCE
        for record in records:
            outcome: Outcome = self.read(record, schedules) if patience else None
            if outcome is not None:
                patience += 1
            else:
                outcome = read_other(record, schedules)
                if patience:
                    patience -= 1
                    if isinstance(outcome, tuple | list):
                        self.learn(record)
            yield outcome

    def read(self, record: RawRecord, schedules: Mapping[str, Schedule]) -> Row | None:
        """Return the event of a record if it certainly is one, else None."""
        raw = record.value() or b""
        for i, pattern in enumerate(self._patterns):
            found = pattern.match(raw)
            if found is not None:
                if i:
                    self._patterns.insert(0, self._patterns.pop(i))
                groups = found.groups()
                try:
                    for group, check in pattern.checks:
                        check(groups[group])
                except ValueError:
                    return None
                return pattern.read(record, groups, schedules)
        self._misses += 1
        return None

    def learn(self, record: RawRecord) -> None:
        """Learn the pattern of a record that is an event, unless there have been too few since the last."""
        raw = record.value() or b""
        if self._misses < self._learned**2 * _MISSES_A_PATTERN or any(
            pattern.match(raw) for pattern in self._patterns
        ):
            return
        self._misses = 0
        self._learned += 1
        layout = Layout(raw, self._kinds, self._settings)
        try:
            self._learn(layout)
        except UnusualLayout:
            return
        except Exception:  # noqa: BLE001 - see below
            # The event was read, so a fault of the walk must not stop the service, which would meet it again.
            _log.exception(
                "no pattern could be learned of a record; its like are decoded by the library, more slowly",
                extra={
                    "topic": record.topic(),
                    "partition": record.partition(),
                    "offset": record.offset(),
                    "remedy": "nothing is lost; report the topic's schema to the developers of driftgauge",
                },
            )
            return
        settings, (vector,), time = self._settings, self._settings.vectors, self._settings.timestamp
        needed = (vector.stream, vector.embedding, time, *settings.where)
        match = layout.match()
        # A pattern may leave out this value too, such as an id in upper case.
        if match(raw) is not None and all(map(layout.has, needed)):
            if time.path is not None:
                # A layout's times are in ms.
                settings = settings.model_copy(update={"timestamp": time.model_copy(update={"unit": "ms"})})
            read = compile_single(settings, layout.getter, layout.number)
            self._patterns.insert(0, _Pattern(match, layout.checks, read))
            del self._patterns[_MOST_PATTERNS:]


def compile_patterns(settings: InputSettings, learn: Learner) -> PatternReader | None:
    """Return the reader of a mapping with one vector, which learns by the learner of its encoding.

    Returns:
        None where patterns cannot serve: it reads an item of a list, the whole value, one field in two ways,
        or a field and one within it; or a condition is on something beside the value.
    """
    (vector,) = settings.vectors
    texts = (vector.stream, settings.event_id, settings.model_version, *settings.segments.values())
    read: list[tuple[Source | None, Kind]] = [(source, "text") for source in texts]
    read += [(settings.timestamp, "time"), (vector.embedding, "vector")]
    read += [(condition, "same") for condition in settings.where]
    kinds: dict[Path, Kind] = {}
    for source, kind in read:
        if source is None:
            continue
        if source.record == "value" or (kind == "same" and source.path is None):
            return None
        if source.path is not None:
            path = path_of(source.path)
            if len(path) < len(parse_path(source.path)) or kinds.setdefault(path, kind) != kind:
                return None
    if any(path[:length] in kinds for path in kinds for length in range(len(path))):
        return None
    return PatternReader(settings, kinds, learn)
