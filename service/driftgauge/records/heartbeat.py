"""The record of the heartbeats topic, with its codec: what a replica has read, and what holds it up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from driftgauge.events.rejection import Reason
from driftgauge.records.messagepack import Format

__all__ = ["INTERVAL_S", "Heartbeat", "Numbers", "add_lags", "decode_heartbeat", "encode_heartbeat"]

INTERVAL_S = 15.0
"""The time between two heartbeats of a replica."""

_OF_TIME = (Reason.FUTURE, Reason.PAST)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a replica reports of itself; the numbers are those since its last heartbeat.

    Streams are named as in the metrics: of a pattern some names, and the pattern for all others.

    Attributes:
        replica: The replica.
        roles: The roles that it serves.
        reasons: Why conditions of readiness are not met, as `/readyz` has them.
        blocked: The first partitions on which it cannot work, by reason, as `/readyz` has them.
        more_blocked: How many further partitions there are, by reason.
        unpolled_ms: For how long each role has not polled Kafka, ms, if that is longer than a minute.
        unread: The number of records of each held topic that are to be read; None if that is not known of
            all its held partitions.
        read: The records of each topic that were accepted or refused.
        accepted: The records with accepted events of each stream; one with several streams counts for each.
        refused: The refused records by topic, stream (empty if it is not known or not configured) and
            reason.
        surplus: The events of streams beyond `most`, by the pattern of their entry.
        gaps: The records of each stream by how many half hours they are after their events, as
            `events.clock_gaps` counts them; those refused as future or past are among them.
    """

    replica: str
    roles: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    blocked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    read: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    surplus: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[tuple[str, int], int] = field(default_factory=dict)
    more_blocked: Mapping[str, int] = field(default_factory=dict)
    unpolled_ms: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of several heartbeats, added up; see `Heartbeat`."""

    read: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    surplus: Counter[str] = field(default_factory=Counter)
    gaps: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def timed(self) -> Counter[str]:
        """The records of each stream whose events have a time: accepted ones, and those refused for it."""
        timed = self.accepted.copy()
        for (_, stream, reason), number in self.refused.items():
            timed[stream] += number if reason in _OF_TIME else 0
        return timed

    def add(self, numbers: "Heartbeat | Numbers") -> None:
        """Add those of another."""
        for each in fields(self):
            getattr(self, each.name).update(getattr(numbers, each.name))


_FORMAT = Format[Heartbeat](Heartbeat)
# A topic's name has up to 249 bytes and a stream's 128; brokers take records of a megabyte.
_MOST_NAMES = 1_000


def add_lags(lags: Iterable[tuple[str, int | None]]) -> dict[str, int | None]:
    """Return the sum of the lags of each topic; None if one of them is not known."""
    found: dict[str, int | None] = {}
    for topic, lag in lags:
        others = found.get(topic, 0)
        found[topic] = None if lag is None or others is None else others + lag
    return found


def encode_heartbeat(heartbeat: Heartbeat) -> list[bytes]:
    """Return the values of a heartbeat's records: one, or more if it has very many streams."""
    listed = {name: [*getattr(heartbeat, name).items()] for name in ("accepted", "refused", "gaps")}
    values = []
    for first in range(0, max(1, *map(len, listed.values())), _MOST_NAMES):
        parts: dict[str, Any] = {
            name: dict(items[first : first + _MOST_NAMES]) for name, items in listed.items()
        }
        values.append(_FORMAT.encode(replace(heartbeat, **parts)))
        heartbeat = replace(heartbeat, read={}, surplus={})
    return values


def decode_heartbeat(value: bytes) -> Heartbeat:
    """Return the heartbeat that a record holds.

    Raises:
        StateError: As `Format.decode`.
    """
    return _FORMAT.decode("a heartbeat", value)
