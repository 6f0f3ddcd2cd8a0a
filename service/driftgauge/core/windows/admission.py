"""The admission of streams to one shard: of an entry that streams share, as many as it is for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.stream_state import StreamState

__all__ = ["Admission", "EntryStreams", "SurplusEvents"]

# The names in a log line.
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class SurplusEvents:
    """The events of one commit that are counted as surplus: their entry has as many streams as it is for.

    Attributes:
        match: The pattern of the entry.
        most: How many streams the entry is for.
        number: How many events the commit had.
        streams: The first few of their streams.
    """

    match: str
    most: int
    number: int
    streams: tuple[str, ...]


class EntryStreams(NamedTuple):
    """The streams of one shard that share an entry.

    Attributes:
        admitted: How many are admitted.
        most: How many streams of all shards the entry is for.
        surplus: How many events were counted as surplus since the shard began.
    """

    admitted: int
    most: int
    surplus: int


class Admission:
    """Admits the streams of a shard in the order in which the partials bring them.

    A shard knows each of its streams once. Of an entry that streams share it admits `most`, whatever names
    events bring. It does not know the streams of other shards, so S shards admit S times as many at most. A
    stream without such an entry is always admitted.
    """

    def __init__(self, specs: ByStream[StreamSpec], streams: Mapping[str, StreamState]) -> None:
        """Begin with streams that may still be restored."""
        self._specs = specs
        self._streams = streams
        self._counted: Counter[str] | None = None

    def admit(
        self,
        panes: Iterable[PaneDelta],
        surplus: Mapping[str, tuple[int, int]],
        state_of: Callable[[str], StreamState],
    ) -> tuple[list[PaneDelta], list[SurplusEvents], Mapping[str, tuple[int, int]]]:
        """Admit the streams of a commit, as far as there is room.

        The windows of a stream that is admitted after others were not are incomplete up to the end of the
        surplus.

        Args:
            panes: The deltas of the commit.
            surplus: The surplus before, see `ShardPosition`.
            state_of: Returns the state of a stream, new if there is none.

        Returns:
            The deltas of admitted streams, the surplus events of the commit, and the surplus after it.
        """
        admitted: list[PaneDelta] = []
        found: dict[str, SurplusEvents] = {}
        after = dict(surplus)
        for delta in panes:
            spec = self._specs.get(delta.stream)
            if self.is_admitted(delta.stream):
                admitted.append(delta)
            elif self._has_room(spec):
                state_of(delta.stream).admit(_surplus_end_ms(delta.stream, surplus))
                admitted.append(delta)
            elif spec is not None and delta.segment is None:
                known = found.get(spec.name, SurplusEvents(spec.name, spec.most, 0, ()))
                streams = dict.fromkeys((*known.streams, delta.stream))
                number = known.number + delta.events
                found[spec.name] = replace(known, number=number, streams=tuple(streams)[:_MAX_NAMED])
                total, end_ms = after.get(spec.name, (0, 0))
                end_ms = max(end_ms, delta.start_ms + delta.scheme.pane_ms)
                after[spec.name] = total + delta.events, end_ms
        return admitted, [*found.values()], after

    def is_admitted(self, stream: str) -> bool:
        """Return whether a stream is admitted now."""
        state = self._streams.get(stream)
        return state is not None and not state.is_retired

    def release(self) -> None:
        """Give back the places of the streams that retired since they were last counted."""
        self._counted = None

    def entries(self, surplus: Mapping[str, tuple[int, int]]) -> dict[str, EntryStreams]:
        """Return the streams of each entry that streams share, by its pattern."""
        return {
            match: EntryStreams(self._numbers[match], spec.most, surplus.get(match, (0, 0))[0])
            for match, spec in self._specs.items()
            if spec.is_shared
        }

    @property
    def _numbers(self) -> Counter[str]:
        """How many streams of each entry are admitted, by its name."""
        if self._counted is None:
            specs = (self._specs.get(stream) for stream in self._streams if self.is_admitted(stream))
            self._counted = Counter(spec.name for spec in specs if spec is not None)
        return self._counted

    def _has_room(self, spec: StreamSpec | None) -> bool:
        """Take a place of an entry for one more stream; return whether there is one."""
        if spec is None or not spec.is_shared:
            return True
        has_room = self._numbers[spec.name] < spec.most
        self._numbers[spec.name] += has_room
        return has_room


def _surplus_end_ms(stream: str, surplus: Mapping[str, tuple[int, int]]) -> int | None:
    """Return the event time up to which a stream may have had surplus events: nobody keeps their names."""
    return max(
        (end_ms for match, (_, end_ms) in surplus.items() if stream in ByStream({match: None})), default=None
    )
