"""Calls of a transactional producer that are repeated, and given up, within a bound."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import ClientLost

__all__ = ["AUTHORIZATION", "CALL_S", "HANGING_S", "insist"]

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

CALL_S = 2.0
"""A call returns after this long at the most, so that the caller's bound is kept."""

HANGING_S = 3.0
"""A call that has not returned so long after its time-out is left to itself.

One that meets a coordinator that has left hangs for ever, though there is another
(https://github.com/confluentinc/librdkafka/issues/5456). A sound one that is slow is only repeated.
"""

_RETRY_S = 0.05
_LEAST_S = 0.5


def insist(
    what: str,
    call: Callable[[float], object],
    bound_s: float,
    *,
    monotonic: Callable[[], float],
    on_retry: Callable[[], None],
) -> None:
    """Make a call, again as long as the client says that it may be repeated.

    Args:
        what: The call's name, for messages.
        call: The call; takes a time-out in seconds.
        bound_s: When to stop. The last call may take a little longer: it is given half a second at least.
        monotonic: The clock that measures the bound.
        on_retry: Hears of each answer that asked for a repetition.

    Raises:
        ClientLost: It was repeated in vain, or did not return. The cause is the last answer.
        KafkaException: It failed, and must not be repeated.
    """
    deadline_s = monotonic() + bound_s
    while True:
        try:
            _guard(call, min(CALL_S, max(deadline_s - monotonic(), _LEAST_S)))
        except TimeoutError as error:
            message = f"{what} did not return within {HANGING_S:g} s after its time-out; check the brokers"
            raise ClientLost(message) from error
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if not cause.retriable():
                raise
            on_retry()
            if monotonic() > deadline_s:
                message = f"{what} was not answered within {bound_s:.2g} s ({cause.str()}); check the brokers"
                raise ClientLost(message) from error
            time.sleep(_RETRY_S)
        else:
            return


def _guard(call: Callable[[float], object], timeout_s: float) -> None:
    """Make a call in a thread of its own, which is left to itself, producer and all, if it does not return.

    Raises:
        TimeoutError: It did not.
        KafkaException: What the call raised.
    """
    returned: Future[object] = Future()

    def make() -> None:
        try:
            returned.set_result(call(timeout_s))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            returned.set_exception(error)

    threading.Thread(target=make, name="transaction", daemon=True).start()
    returned.result(timeout_s + HANGING_S)
