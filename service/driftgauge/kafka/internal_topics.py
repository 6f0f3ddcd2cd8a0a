"""The internal topics: the settings to create them with, and the settings that are required."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from driftgauge.errors import StateError

__all__ = ["CHANGELOG_SETTINGS", "PARTIALS_SETTINGS", "InternalTopics", "require_settings"]

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_RETENTION_MS: Final = 7 * _DAY_MS


@dataclass(frozen=True, slots=True)
class InternalTopics:
    """The names of the internal topics, and the number of shards: the partition count of each topic."""

    partials: str
    changelog: str
    shards: int


PARTIALS_SETTINGS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    # WINDOWS may be down for this long without losing records.
    "retention.ms": str(_RETENTION_MS),
    "retention.bytes": "-1",
    # Kafka deletes expired records by whole segments only.
    "segment.ms": str(_DAY_MS),
    # WINDOWS uses the append time of this log, and replicas measure their clocks against it.
    "message.timestamp.type": "LogAppendTime",
}
"""The settings to create the partials topic with."""

CHANGELOG_SETTINGS: Final[Mapping[str, str]] = {
    # Compaction keeps the last record of each key, however old.
    "cleanup.policy": "compact",
    # Kafka compacts rolled segments only, never the active one. Kafka 4 accepts no smaller size
    # (KIP-1030); at 4 kB/s a segment is rolled every four minutes.
    "segment.bytes": str(1024 * 1024),
    # Compaction starts once a tenth of the log is new; with little state that is at every roll.
    "min.cleanable.dirty.ratio": "0.1",
    # A partition with few writes is rolled at its next record and compacted after an hour as well: this
    # setting caps segment.ms of a compacted topic.
    "max.compaction.lag.ms": str(_HOUR_MS),
    # No reader needs the history; a cluster default above max.compaction.lag.ms would be refused.
    "min.compaction.lag.ms": "0",
    # Kafka keeps tombstones and transaction markers for this long. A reader that takes or pauses longer
    # between the first record and the last may miss a tombstone; reading takes seconds. With the default
    # of a day, one transaction a second leaves 6.7 MB of markers in every partition.
    "delete.retention.ms": str(_HOUR_MS),
    # Kafka 4 refuses records with a create time over an hour ahead, so a replica's wrong clock would matter.
    "message.timestamp.type": "LogAppendTime",
}
"""The settings to create the changelog with.

Measured (Kafka 4.3): a partition's log stays below the size of its state, plus an hour's markers (0.3 MB),
plus 1.4 MB.
"""


def require_settings(topics: InternalTopics, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse internal topics with settings that would lose needed records.

    Raises:
        StateError: The operator must change a setting of one of the topics.
    """
    policy = settings[topics.changelog]["cleanup.policy"]
    if policy != "compact":
        message = (
            f"changelog topic {topics.changelog} has cleanup.policy={policy}: state would be deleted while "
            "it is needed, or never be compacted. Set it to compact only"
        )
        raise StateError(message)
    found = settings[topics.partials]
    wrong = [
        f"{name}={found[name]} (must be {needed})"
        for name, needed, is_right in (
            ("cleanup.policy", "delete", found["cleanup.policy"] == "delete"),
            ("retention.ms", f"{_RETENTION_MS} or more", _retains(found["retention.ms"], _RETENTION_MS)),
            ("retention.bytes", "-1", found["retention.bytes"] == "-1"),
            (
                "message.timestamp.type",
                "LogAppendTime",
                found["message.timestamp.type"] == "LogAppendTime",
            ),
        )
        if not is_right
    ]
    if wrong:
        message = (
            f"partials topic {topics.partials} has {', '.join(wrong)}: counts could be deleted before they "
            "are applied, or have no append time. Change the topic's settings"
        )
        raise StateError(message)


def _retains(retention_ms: str, at_least_ms: int) -> bool:
    """True if the topic retains records for at least this long; -1 means without limit."""
    return int(retention_ms) == -1 or int(retention_ms) >= at_least_ms
