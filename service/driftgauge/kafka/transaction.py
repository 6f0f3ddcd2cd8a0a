"""One Kafka transaction at a time: what is produced in it and the group's offsets stand or fall together.

The pattern of Kafka Streams' exactly-once (KIP-447): the offsets go out with the metadata of the
consumer's group, so a member that has lost its partitions, though it does not know, is refused.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, TransactionAborted

__all__ = ["AUTHORIZATION", "Headers", "Transaction"]

_log = logging.getLogger(__name__)

AUTHORIZATION = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""What only the operator can mend."""

# Each call returns after this long, so that the caller's bound is kept.
_CALL_S = 2.0
# A full queue is waited on this often, a second each, before the broker counts as lost.
_QUEUE_ATTEMPTS = 30

Headers = list[tuple[str, str | bytes | None]]
_OnDelivery = Callable[[KafkaError | None, Message], None]


class Transaction:
    """Opens with the first record, closes with `commit` or `abort`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._open = False

    def start(self, bound_s: float) -> None:
        """End what an earlier process of the same transactional id left open.

        Raises:
            ClientLost: The brokers did not answer within the bound.
            AuthorizationError: They do not let us.
        """
        self._insist("init_transactions", self._producer.init_transactions, bound_s)

    def produce(
        self,
        topic: str,
        *,
        partition: int = -1,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        on_delivery: _OnDelivery | None = None,
    ) -> bool:
        """Hand a record to the client; False where it is too large for it.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `commit`.
        """
        if not self._open:
            self._producer.begin_transaction()
            self._open = True
        for _ in range(_QUEUE_ATTEMPTS):
            try:
                self._producer.produce(
                    topic,
                    partition=partition,
                    key=key,
                    value=value,
                    headers=headers or [],
                    on_delivery=on_delivery,
                )
            except BufferError:
                self._producer.poll(1.0)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                self._fail("produce", error)
            else:
                self._producer.poll(0)
                return True
        message = f"the producer's queue has been full for {_QUEUE_ATTEMPTS} s; check the brokers"
        raise ClientLost(message)

    def commit(self, offsets: Sequence[TopicPartition], consumer: Consumer, bound_s: float) -> None:
        """Make all of it stand, with these offsets of the consumer's group.

        Raises:
            TransactionAborted: Nothing of it stands.
            ClientLost: Whether it stands is in doubt; a new producer of the same id settles it.
            AuthorizationError: The cluster does not let us.
        """
        if not self._open:
            self._producer.begin_transaction()
            self._open = True
        # Fresh each time: it names the group's generation, by which a stale owner is known.
        member = consumer.consumer_group_metadata()
        started = time.monotonic()
        self._insist(
            "send_offsets_to_transaction",
            lambda timeout_s: self._producer.send_offsets_to_transaction(list(offsets), member, timeout_s),
            bound_s,
        )
        self._insist(
            "commit_transaction",
            self._producer.commit_transaction,
            max(bound_s - (time.monotonic() - started), _CALL_S),
        )
        self._open = False

    def abort(self, bound_s: float) -> None:
        """Let nothing of it stand.

        Raises:
            ClientLost: The brokers did not answer within the bound, or refuse.
        """
        if self._open:
            self._open = False
            self._insist("abort_transaction", self._producer.abort_transaction, bound_s)

    def _insist(self, what: str, call: Callable[[float], object], bound_s: float) -> None:
        """Make a call, again as long as the client says that it may be repeated."""
        deadline = time.monotonic() + bound_s
        while True:
            try:
                call(_CALL_S)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                # To give up a call that may have succeeded is to be in doubt about it.
                if not cause.retriable():
                    self._fail(what, error)
                if time.monotonic() > deadline:
                    message = (
                        f"{what} was not answered within {bound_s:g} s ({cause.str()}); check the brokers"
                    )
                    raise ClientLost(message) from error
            else:
                return

    def _fail(self, what: str, error: KafkaException) -> NoReturn:
        cause: KafkaError = error.args[0]
        if cause.code() in AUTHORIZATION:
            message = f"{what} is not allowed ({cause.str()}); check the client's rights"
            raise AuthorizationError(message) from error
        if cause.fatal() or not cause.txn_requires_abort():
            remedy = (
                "; another process uses this replica's name" if cause.code() == KafkaError._FENCED else ""
            )
            message = f"{what} failed for good ({cause.str()}){remedy}"
            raise ClientLost(message) from error
        try:
            self.abort(2 * _CALL_S)
        except BrokerError as failed:
            raise failed from error
        message = f"{what} was refused ({cause.str()})"
        raise TransactionAborted(message) from error
