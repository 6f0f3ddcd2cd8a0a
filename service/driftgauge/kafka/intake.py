"""Kafka messages to the columns that are decoded."""

import logging
from collections.abc import Sequence

import numpy as np
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from driftgauge.errors import BrokerError
from driftgauge.events.records import Records
from driftgauge.kafka.assignment import Assignment

__all__ = ["read_notices", "to_records"]

_log = logging.getLogger(__name__)

# Nothing that waiting could change: the operator has to.
_FATAL = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


def read_notices(messages: Sequence[Message], assignment: Assignment) -> list[Message]:
    """Return the messages that are records of held partitions; heed the notices among the others.

    Raises:
        BrokerError: A notice that waiting will not mend.
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
        elif error.fatal() or error.code() in _FATAL:
            where = f"{message.topic()}[{message.partition()}]" if message.topic() else "the cluster"
            text = f"reading from {where} failed: {error.str()}; mend it and start again"
            raise BrokerError(text)
        else:
            _log.warning("broker notice", extra={"error": error.str(), "topic": message.topic()})
    return records


def to_records(messages: Sequence[Message], assignment: Assignment, *, now_ms: int, lead_ms: int) -> Records:
    """Return n messages as columns.

    An event is credible up to `lead_ms` after its record's timestamp. Where the producer has set
    that timestamp itself its clock may be wrong as well, so the service's own clock bounds it too.
    """
    stamps = [message.timestamp() for message in messages]
    stamp_ms = np.array([time_ms for _, time_ms in stamps], dtype=np.int64)
    kind = np.array([kind for kind, _ in stamps])
    latest = np.select(
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
        latest_ms=latest + lead_ms,
    )
