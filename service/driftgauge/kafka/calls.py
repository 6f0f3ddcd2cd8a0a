"""Calls of a transactional producer, retried within a time bound."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import ClientLost

__all__ = ["AUTHORIZATION", "CALL_S", "CLIENT_ERROR_REMEDY", "HANGING_S", "insist"]

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
"""Error codes that only the operator can resolve, by granting rights."""

CLIENT_ERROR_REMEDY = "none if it ends by itself; else check the brokers, and that the topic exists"
"""The remedy for an error that a consumer reports and after which it continues by itself."""

CALL_S = 2.0
"""The longest timeout of one call, which keeps the caller's bound."""

HANGING_S = 3.0
"""The time after its timeout at which a call that has not returned is abandoned.

A call to a coordinator that has left hangs forever, though a new one exists
(https://github.com/confluentinc/librdkafka/issues/5456). A call that is merely slow is retried.
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
    """Make a call, and retry it while its errors are retriable.

    Args:
        what: The call's name, for messages.
        call: The call; takes a timeout in seconds.
        bound_s: The time for all tries. The last may exceed it: its timeout is half a second at least.
        monotonic: The clock that measures the bound.
        on_retry: Called at each retriable error.

    Raises:
        ClientLost: All tries failed, or one did not return. The cause is the last error.
        KafkaException: The call failed with an error that is not retriable.
    """
    deadline_s = monotonic() + bound_s
    while True:
        try:
            _call_in_thread(call, min(CALL_S, max(deadline_s - monotonic(), _LEAST_S)))
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


def _call_in_thread(call: Callable[[float], object], timeout_s: float) -> None:
    """Make a call in a thread of its own, which is abandoned with its producer if it does not return.

    Raises:
        TimeoutError: The call did not return.
        KafkaException: The call failed.
    """
    returned: Future[object] = Future()

    def make() -> None:
        try:
            returned.set_result(call(timeout_s))
        except Exception as error:  # noqa: BLE001 - raised again by returned.result()
            returned.set_exception(error)

    threading.Thread(target=make, name="transaction", daemon=True).start()
    returned.result(timeout_s + HANGING_S)
