"""The transactional producer of one role, which is replaced after a lost connection or a time-out.

Absent ------> Starting ------> Ready ------> Suspect
   ^   renew     |  ^  answered    |  in doubt   |
   |  failed     |  |              |             |
   +-------------+  +--------------+-------------+
                          renew
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from driftgauge.clock import Clock
from driftgauge.errors import ClientLost
from driftgauge.kafka.calls import AUTHORIZATION, insist
from driftgauge.kafka.transaction_errors import call_denied, call_failed

__all__ = ["MakeProducer", "TransactionalProducer"]

_log = logging.getLogger(__name__)

MakeProducer = Callable[[str, Callable[[KafkaError], None]], Producer]
"""Returns a producer of a transactional id that reports its errors to a callback."""

_INIT: Final = "init_transactions"

# After these a client may have repeated a request, and the first one may still reach a broker.
_LOST_CONNECTION: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError.REQUEST_TIMED_OUT,
    }
)


@dataclass(frozen=True, slots=True)
class _Absent:
    """There is no producer."""


@dataclass(frozen=True, slots=True)
class _Starting:
    """The brokers have not answered a new producer's init_transactions yet."""

    client: Producer


@dataclass(frozen=True, slots=True)
class _Ready:
    """Transactions can begin."""

    client: Producer


@dataclass(frozen=True, slots=True)
class _Suspect:
    """The open transaction can end; the next one needs a new producer."""

    client: Producer


class TransactionalProducer:
    """The current producer of a transactional id, and its epoch.

    A producer that lost a connection or saw a time-out is replaced before the next transaction, even if
    the commit succeeded. librdkafka ends a transaction without an epoch bump, so a delayed EndTxn request
    may end the next transaction (https://github.com/confluentinc/librdkafka/issues/5423). A new producer
    of the same id fences that request.

    Attributes:
        name: The transactional id, as configured.
        epoch: When the producer was made, in wall-clock milliseconds; strictly increasing.
    """

    def __init__(
        self,
        make: MakeProducer,
        name: str,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self.name = name
        self.epoch = 0
        self._make = make
        self._clock = clock
        self._stopping = stopping
        self._state: _Absent | _Starting | _Ready | _Suspect = _Absent()
        self._busy_ids = 0  # how many ids were left because they stayed busy

    @property
    def client(self) -> Producer:
        """The current producer."""
        if isinstance(self._state, _Ready | _Suspect):
            return self._state.client
        message = f"the producer of {self.name} was not started"
        raise ClientLost(message)

    @property
    def is_suspect(self) -> bool:
        """Whether the next transaction needs a new producer."""
        return not isinstance(self._state, _Ready)

    def suspect(self) -> None:
        """Replace the producer before the next transaction."""
        if isinstance(self._state, _Ready):
            self._state = _Suspect(self._state.client)

    def leave_id(self) -> None:
        """Replace the producer by one of another transactional id before the next transaction.

        A transaction that has ended keeps its id busy until its markers are in all of its partitions. While
        one of these cannot be written to, no other transaction of the id can begin.
        """
        self._busy_ids += 1
        self.suspect()

    def close(self) -> None:
        """Release the current producer; `renew` makes another."""
        self._state = _Absent()

    def renew(self, bound_s: float) -> None:
        """Replace the producer; the new one ends the transaction that the old one left open.

        If brokers do not answer within the bound, the next call continues with the same new producer,
        because two new ones would fence each other. If the id is still busy, the next call uses another id.

        Raises:
            ClientLost: The brokers did not answer within the bound.
            AuthorizationError: The cluster denies the right.
        """
        if not isinstance(self._state, _Starting):
            # The old producer is released before there is a new one.
            self._state = _Absent()
            self._state = _Starting(self._make(self.transactional_id, self._on_error))
        client = self._state.client
        try:
            insist(
                _INIT,
                client.init_transactions,
                bound_s,
                monotonic=self._clock.monotonic_s,
                stopping=self._stopping,
                on_retry=lambda: None,
            )
        except ClientLost as error:
            if _is_busy(error):
                _log.warning(
                    "transactional id is busy; the producer uses another one",
                    extra={
                        "transactional_id": self.transactional_id,
                        "error": str(error),
                        "remedy": "check for partitions of its last transaction that have no leader",
                    },
                )
                self._state = _Absent()
                self.leave_id()
            elif not isinstance(error.__cause__, KafkaException):
                # The call is still running.
                self._state = _Absent()
            raise
        except KafkaException as error:
            self._state = _Absent()
            cause: KafkaError = error.args[0]
            if cause.code() in AUTHORIZATION:
                raise call_denied(_INIT, self.transactional_id, cause) from error
            raise call_failed(_INIT, self.transactional_id, cause) from error
        self.epoch = max(self._clock.wall_ms(), self.epoch + 1)
        self._state = _Ready(client)

    def _on_error(self, error: KafkaError) -> None:
        # Errors while a producer starts concern no transaction, for none has begun.
        if error.code() in _LOST_CONNECTION:
            self.suspect()

    @property
    def transactional_id(self) -> str:
        """The transactional id in use."""
        return f"{self.name}.{self._busy_ids}" if self._busy_ids else self.name


def _is_busy(error: ClientLost) -> bool:
    """Return whether markers of an earlier transaction of the id are still to be written."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.CONCURRENT_TRANSACTIONS
