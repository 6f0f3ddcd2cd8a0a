"""The consumer's messages as columns to decode, and its error events as actions."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import KafkaError, Message

from driftgauge.core.partition import Partition, name_partition
from driftgauge.errors import BrokerError
from driftgauge.events.records import Records, credible_ms
from driftgauge.kafka.calls import AUTHORIZATION, CLIENT_ERROR_REMEDY
from driftgauge.kafka.rights import reading_denied

__all__ = ["Poll", "sort_messages", "to_records"]

_log = logging.getLogger(__name__)

# The client reports the end of a truncated log in its message text only.
_TRUNCATED_AT = re.compile(r"broker end offset is (\d+)")
# A checksum that differs, found by the client or by the broker, and bytes that cannot be decompressed.
_DAMAGED = frozenset({KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG})


@dataclass(frozen=True, slots=True)
class Poll:
    """The messages of one poll, sorted by kind.

    Attributes:
        records: The records, in their order.
        ends: The partitions whose end was reached, and the end offset: past transaction markers and
            compacted records, which the client never delivers. An end follows all records before it, so the
            records are processed first.
        lost_positions: The partitions whose log no longer holds the consumer's position, and the offset at
            which the log was truncated, or None if that is unknown.
        damaged: The partitions whose next batch cannot be read, and the error; the client repeats it.
    """

    records: list[Message] = field(default_factory=list)
    ends: dict[Partition, int] = field(default_factory=dict)
    lost_positions: dict[Partition, int | None] = field(default_factory=dict)
    damaged: dict[Partition, str] = field(default_factory=dict)


def sort_messages(messages: Sequence[Message], *, group: str | None = None) -> Poll:
    """Return the messages of one poll by kind; other error events are logged or raised.

    Args:
        messages: The messages.
        group: The consumer's group, for messages; None if it has none.

    Raises:
        BrokerError: The consumer failed for good; a new one may be able to read.
        AuthorizationError: The cluster does not let this client read.
    """
    found = Poll()
    for message in messages:
        error = message.error()
        if error is None:
            found.records.append(message)
            continue
        index = message.partition()
        at = message.topic() or "", -1 if index is None else index
        if error.code() == KafkaError._PARTITION_EOF:
            found.ends[at] = message.offset() or 0
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            _log.error(
                "the log no longer holds the consumer's position; the partition is started again",
                extra={
                    "partition": name_partition(at),
                    "offset": message.offset(),
                    "error": error.str(),
                    "remedy": "compare retention with the lag; see the runbook DriftgaugeCountsInDoubt",
                },
            )
            truncated = _TRUNCATED_AT.search(error.str())
            found.lost_positions[at] = int(truncated[1]) if truncated else None
        elif error.code() in AUTHORIZATION:
            where = name_partition(at) if message.topic() else "from the cluster"
            raise reading_denied(error, where, topic=message.topic(), group=group)
        elif error.fatal():
            who = f"the consumer of the group {group}" if group else "the consumer"
            text = (
                f"{who} failed for good ({error.str()}); a service makes a new one, a command is run "
                "again; if this repeats, check the brokers"
            )
            raise BrokerError(text)
        else:
            if error.code() in _DAMAGED:
                found.damaged[at] = error.str()
            _log.warning(
                "the Kafka client reports an error and tries again",
                extra={
                    "error": error.str(),
                    "topic": message.topic(),
                    "partition": index,
                    "group": group,
                    "remedy": CLIENT_ERROR_REMEDY,
                },
            )
    return found


def to_records(
    messages: Sequence[Message], codes: Mapping[Partition, int], *, now_ms: int
) -> tuple[Sequence[Message], Records]:
    """Return those of n messages whose partitions have codes, and the same as columns.

    Messages fetched before their partition was dropped or paused may still arrive.
    """
    # By their type, messages may name no partition.
    found = [codes.get((message.topic(), message.partition()), -1) for message in messages]  # type: ignore[arg-type]
    if -1 in found:
        messages = [message for message, code in zip(messages, found, strict=True) if code >= 0]
        found = [code for code in found if code >= 0]
    return messages, Records(
        raw=messages,
        partition=np.array(found, dtype=np.int32),
        offset=np.array([message.offset() for message in messages], dtype=np.int64),
        credible_ms=credible_ms(messages, now_ms),
    )
