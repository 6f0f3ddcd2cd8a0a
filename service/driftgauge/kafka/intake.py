"""Kafka messages to the columns that are decoded."""

import logging
from collections.abc import Sequence

import numpy as np
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.events.records import Records
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.transaction import AUTHORIZATION

__all__ = ["PositionLost", "read_notices", "to_records"]

_log = logging.getLogger(__name__)


class PositionLost(Exception):  # noqa: N818 - what happened to the log, not to us; never leaves this package
    """The log no longer keeps the next record to read."""


def read_notices(messages: Sequence[Message], assignment: Assignment) -> list[Message]:
    """Return the messages that are records of held partitions; heed the notices among the others.

    Raises:
        PositionLost: A held partition is to be restored: its log no longer keeps what is next.
        BrokerError: The client can read no more; a new one may.
        AuthorizationError: The cluster does not let us read.
    """
    records = []
    for message in messages:
        error = message.error()
        if error is None:
            # A message fetched before a rebalance may still come out of a batch after it.
            if assignment.code(message.topic(), message.partition()) is not None:
                records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            code = assignment.code(message.topic(), message.partition())
            end = message.offset()
            if code is not None and end is not None:
                # The end lies past transaction markers and compacted records, which are never delivered.
                assignment.advance(code, end)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if assignment.code(message.topic(), message.partition()) is None:
                continue
            text = f"{message.topic()}[{message.partition()}]: {error.str()}"
            raise PositionLost(text)
        elif error.code() in AUTHORIZATION:
            where = f"{message.topic()}[{message.partition()}]" if message.topic() else "the cluster"
            text = f"{where} must not be read ({error.str()}); check the client's rights"
            raise AuthorizationError(text)
        elif error.fatal():
            text = f"the consumer failed for good ({error.str()})"
            raise BrokerError(text)
        else:
            _log.warning("broker notice", extra={"error": error.str(), "topic": message.topic()})
    return records


def to_records(messages: Sequence[Message], assignment: Assignment, *, now_ms: int) -> Records:
    """Return n messages as columns.

    An event is credible up to its record's timestamp. Where the producer has set that timestamp itself
    its clock may be wrong as well, so the service's own clock bounds it too.
    """
    stamps = [message.timestamp() for message in messages]
    stamp_ms = np.array([time_ms for _, time_ms in stamps], dtype=np.int64)
    kind = np.array([kind for kind, _ in stamps])
    credible_ms = np.select(
        [kind == TIMESTAMP_LOG_APPEND_TIME, kind == TIMESTAMP_CREATE_TIME],
        [stamp_ms, np.minimum(stamp_ms, now_ms)],
        default=now_ms,
    )
    return Records(
        values=[message.value() for message in messages],
        partition=np.array(
            [assignment.code(message.topic(), message.partition()) for message in messages], dtype=np.int32
        ),
        offset=np.array([message.offset() for message in messages], dtype=np.int64),
        credible_ms=credible_ms,
    )
