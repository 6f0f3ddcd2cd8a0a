"""One Kafka transaction at a time: what is produced in it and the group's offsets stand or fall together.

The pattern of Kafka Streams' exactly-once (KIP-447): the offsets go out with the metadata of the
consumer's group, so a member that has lost its partitions, though it does not know, is refused.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, TransactionAborted

__all__ = ["AUTHORIZATION", "Headers", "Transaction"]

_log = logging.getLogger(__name__)

AUTHORIZATION = frozenset(
    {
        KafkaError._AUTHENTICATION,
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
_RETRY_S = 0.05
# Or should: one that meets a lost connection may return never, though the brokers be back
# (https://github.com/confluentinc/librdkafka/issues/5456). Here it is beyond the transaction's timeout.
_HANGING_S = 12.0
# A full queue is waited on this often, and so long each time, before the broker counts as lost.
_QUEUE_ATTEMPTS = 10
_QUEUE_WAIT_S = 1.0

# Brokers fence with one and the same error.
_FENCED = (
    "; another process uses this replica's name, or the transaction was open for longer than "
    "transaction.timeout.ms"
)

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
        self._begin()
        wait_s = 0.0
        for _ in range(_QUEUE_ATTEMPTS):
            try:
                # Here delivery reports are heard, and that the client has failed for good.
                self._producer.poll(wait_s)
                self._producer.produce(
                    topic,
                    partition=partition,
                    key=key,
                    value=value,
                    headers=headers or [],
                    on_delivery=on_delivery,
                )
            except BufferError:
                wait_s = _QUEUE_WAIT_S
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                self._fail("produce", error)
            else:
                return True
        waited_s = _QUEUE_ATTEMPTS * _QUEUE_WAIT_S
        message = f"the producer's queue has been full for {waited_s:g} s; check the brokers"
        raise ClientLost(message)

    def commit(self, offsets: Sequence[TopicPartition], consumer: Consumer, bound_s: float) -> None:
        """Make all of it stand, with these offsets of the consumer's group.

        There must be an offset at least: without one the group is not asked, and a stale owner not
        refused. While the brokers are away the bound is kept as far as librdkafka keeps it, which
        sends offsets for up to transaction.timeout.ms whatever it is told (measured, 2.16).

        Raises:
            TransactionAborted: Nothing of it stands.
            ClientLost: Whether it stands is in doubt; a new producer of the same id settles it.
            AuthorizationError: The cluster does not let us.
        """
        self._begin()
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

    def _begin(self) -> None:
        if not self._open:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                self._fail("begin_transaction", error)
            self._open = True

    def _insist(self, what: str, call: Callable[[float], object], bound_s: float) -> None:
        """Make a call, again as long as the client says that it may be repeated."""
        deadline = time.monotonic() + bound_s
        while True:
            try:
                _call(call)
            except TimeoutError as error:
                self._open = False
                message = f"{what} did not return within {_HANGING_S:g} s; check the brokers"
                raise ClientLost(message) from error
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                # To give up a call that may have succeeded is to be in doubt about it.
                if not cause.retriable():
                    self._fail(what, error)
                if time.monotonic() > deadline:
                    # Nor would it be aborted: the client insists on the call that it has begun.
                    self._open = False
                    message = (
                        f"{what} was not answered within {bound_s:g} s ({cause.str()}); check the brokers"
                    )
                    raise ClientLost(message) from error
                time.sleep(_RETRY_S)
            else:
                return

    def _fail(self, what: str, error: KafkaException) -> NoReturn:
        cause: KafkaError = error.args[0]
        if cause.code() in AUTHORIZATION:
            message = f"{what} is not allowed ({cause.str()}); check the client's rights"
            raise AuthorizationError(message) from error
        # Whoever adds to a transaction that has failed is told no more than that.
        has_failed = cause.txn_requires_abort() or (what == "produce" and cause.code() == KafkaError._STATE)
        if not self._open or cause.fatal() or not has_failed:
            self._open = False
            remedy = _FENCED if cause.code() == KafkaError._FENCED else ""
            message = f"{what} failed for good ({cause.str()}){remedy}"
            raise ClientLost(message) from error
        try:
            self.abort(2 * _CALL_S)
        except BrokerError as failed:
            raise failed from error
        message = f"{what} was refused ({cause.str()})"
        raise TransactionAborted(message) from error


def _call(call: Callable[[float], object]) -> None:
    """Make a call in a thread of its own, which is left to itself, producer and all, if it does not return.

    Raises:
        TimeoutError: It did not.
        KafkaException: What the call raised.
    """
    returned: Future[object] = Future()

    def make() -> None:
        try:
            returned.set_result(call(_CALL_S))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            returned.set_exception(error)

    threading.Thread(target=make, name="transaction", daemon=True).start()
    returned.result(_HANGING_S)
