"""The two internal topics: the settings they are created with, and those they must have."""

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
    """The names of the internal topics, and how many shards, that is partitions, each has."""

    partials: str
    changelog: str
    shards: int


PARTIALS_SETTINGS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    # WINDOWS may stand still for as long, and loses nothing.
    "retention.ms": str(_RETENTION_MS),
    "retention.bytes": "-1",
    # What is older is deleted by whole segments only.
    "segment.ms": str(_DAY_MS),
    # WINDOWS goes by the time of this log, and replicas measure their clocks against it.
    "message.timestamp.type": "LogAppendTime",
}
"""What the partials topic is created with."""

CHANGELOG_SETTINGS: Final[Mapping[str, str]] = {
    # Of each key the last record is kept, however old it is.
    "cleanup.policy": "compact",
    # Only what is rolled is compacted, never the segment that is written to. Kafka 4 takes nothing
    # smaller (KIP-1030); at 4 kB/s it is rolled every four minutes.
    "segment.bytes": str(1024 * 1024),
    # Compacted as soon as a tenth is new, which beside little state means with every roll.
    "min.cleanable.dirty.ratio": "0.1",
    # What is hardly written to is rolled, with its next record, and compacted after an hour all the
    # same: for a compacted topic segment.ms is never more than this.
    "max.compaction.lag.ms": str(_HOUR_MS),
    # Nobody reads the history. Said because a cluster's own default above the hour would be refused.
    "min.compaction.lag.ms": "0",
    # How long tombstones and transactions' markers are kept. Whoever takes longer to read from the
    # first record to the last, which takes seconds, or pauses for longer, may miss a tombstone. Not a
    # day, the default, for then one transaction a second leaves 6.7 MB of markers in every partition.
    "delete.retention.ms": str(_HOUR_MS),
    # A replica's clock must not matter: Kafka 4 refuses records stamped over an hour ahead.
    "message.timestamp.type": "LogAppendTime",
}
"""What the changelog is created with.

Measured (Kafka 4.3): a partition stays below what stands in it, an hour's markers (0.3 MB) and 1.4 MB.
"""


def require_settings(topics: InternalTopics, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse internal topics that would lose what is needed.

    Raises:
        StateError: A setting of one of them must be changed first.
    """
    policy = settings[topics.changelog]["cleanup.policy"]
    if policy != "compact":
        message = (
            f"changelog topic {topics.changelog} has cleanup.policy={policy}: state would be deleted while "
            "it is needed, or never be compacted. Set it to compact, and nothing else"
        )
        raise StateError(message)
    found = settings[topics.partials]
    wrong = [
        f"{name}={found[name]} (must be {needed})"
        for name, needed, is_right in (
            ("cleanup.policy", "delete", found["cleanup.policy"] == "delete"),
            ("retention.ms", f"{_RETENTION_MS} or more", _keeps(found["retention.ms"], _RETENTION_MS)),
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
            "are applied, or have no time. Change the topic's settings"
        )
        raise StateError(message)


def _keeps(retention_ms: str, at_least_ms: int) -> bool:
    """Tell whether records are kept for so long; -1 is for ever."""
    return int(retention_ms) == -1 or int(retention_ms) >= at_least_ms
