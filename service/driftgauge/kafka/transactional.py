"""The producer of one role's transactions, replaced by a new one where it is no longer to be trusted."""

import logging
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from driftgauge.clock import Clock
from driftgauge.errors import AuthorizationError, ClientLost
from driftgauge.kafka.calls import AUTHORIZATION, insist

__all__ = ["MakeProducer", "TransactionalProducer"]

_log = logging.getLogger(__name__)

MakeProducer = Callable[[str, Callable[[KafkaError], None]], Producer]
"""Makes a producer of a transactional id that reports its lost connections."""

# A request may have been repeated on a new connection: the first may still be under way.
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


class TransactionalProducer:
    """One producer at a time, each with an epoch of its own.

    A producer that lost a connection or saw a time-out is replaced before the next transaction, even
    where the commit succeeded. librdkafka ends a transaction without an epoch bump, so a request to end
    that was delayed may end the next one (https://github.com/confluentinc/librdkafka/issues/5423).
    A new producer of the same id fences it.

    Attributes:
        name: The transactional id, as configured.
        epoch: When the producer was made, as wall-clock milliseconds; strictly increasing.
    """

    def __init__(
        self,
        make: MakeProducer,
        name: str,
        clock: Clock,
    ) -> None:
        self.name = name
        self.epoch = 0
        self._make = make
        self._clock = clock
        self._producer: Producer | None = None
        self._pending: Producer | None = None  # one that the brokers have not answered yet
        self._is_suspect = True
        self._ids = 0  # how many have been left to what they wait for

    @property
    def client(self) -> Producer:
        """The present producer."""
        if self._producer is None:
            message = f"the producer of {self.name} was not started"
            raise ClientLost(message)
        return self._producer

    @property
    def is_suspect(self) -> bool:
        """Whether it must be replaced before the next transaction."""
        return self._is_suspect

    def suspect(self) -> None:
        """Have it replaced before the next transaction."""
        self._is_suspect = True

    def leave_id(self) -> None:
        """Have it replaced by one of another id.

        A transaction that has ended keeps its id busy until its markers stand in all of its partitions.
        Where one of them cannot be written to, no other transaction of that id can begin.
        """
        self._ids += 1
        self._is_suspect = True

    def close(self) -> None:
        """Let the present producer go; `renew` makes another."""
        self._producer = self._pending = None

    def renew(self, bound_s: float) -> None:
        """Put a new producer in the place of the present one; it ends what that left open.

        Where the brokers have not answered within the bound, the next call goes on with the same new
        producer: another one would be fenced by it, or fence it. Where the id is still busy, the next call
        takes another.

        Raises:
            ClientLost: The brokers did not answer within the bound.
            AuthorizationError: They do not let us.
        """
        self._producer, pending = None, self._pending
        if pending is None:
            pending = self._make(self.transactional_id, self._hear)
        self._pending = None
        # What init_transactions meets is no concern of a transaction that has not begun.
        self._is_suspect = False
        try:
            insist(
                "init_transactions",
                pending.init_transactions,
                bound_s,
                monotonic=self._clock.monotonic_s,
                on_retry=lambda: None,
            )
        except ClientLost as error:
            if _is_busy(error):
                _log.warning(
                    "transactional id is busy, another is taken",
                    extra={"transactional_id": self.transactional_id, "error": str(error)},
                )
                self.leave_id()
            elif isinstance(error.__cause__, KafkaException):
                self._pending = pending
            raise
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() in AUTHORIZATION:
                message = f"init_transactions is not allowed ({cause.str()}); check the client's rights"
                raise AuthorizationError(message) from error
            message = f"init_transactions failed for good ({cause.str()})"
            raise ClientLost(message) from error
        self.epoch = max(self._clock.wall_ms(), self.epoch + 1)
        self._producer = pending

    def _hear(self, error: KafkaError) -> None:
        if error.code() in _LOST_CONNECTION:
            self._is_suspect = True

    @property
    def transactional_id(self) -> str:
        """The id in use."""
        return f"{self.name}.{self._ids}" if self._ids else self.name


def _is_busy(error: ClientLost) -> bool:
    """Tell whether an earlier transaction of the id has ended, but not everywhere."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.CONCURRENT_TRANSACTIONS
