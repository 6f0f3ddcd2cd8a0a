"""Calls of a transactional producer, retried within a time bound."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import MORE_THREADS, ClientLost

__all__ = ["AUTHORIZATION", "CALL_S", "CLIENT_ERROR_REMEDY", "HANGING_S", "in_thread", "insist", "no_thread"]

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

_Result = TypeVar("_Result")

_RETRY_S = 0.05
_LEAST_S = 0.5


def insist(
    what: str,
    call: Callable[[float], object],
    bound_s: float,
    *,
    monotonic: Callable[[], float],
    stopping: threading.Event,
    on_retry: Callable[[], None],
) -> None:
    """Make a call, and retry it while its errors are retriable.

    Args:
        what: The call's name, for messages.
        call: The call; takes a timeout in seconds.
        bound_s: The time for all tries. The last may exceed it: its timeout is half a second at least.
        monotonic: The clock that measures the bound.
        stopping: Once it is set, the call is not retried.
        on_retry: Called at each retriable error.

    Raises:
        ClientLost: All tries failed, or one did not return. The cause is the last error.
        KafkaException: The call failed with an error that is not retriable.
    """
    deadline_s = monotonic() + bound_s
    while True:
        try:
            timeout_s = min(CALL_S, max(deadline_s - monotonic(), _LEAST_S))
            in_thread(partial(call, timeout_s)).result(timeout_s + HANGING_S)
        except TimeoutError as error:
            message = f"{what} did not return within {HANGING_S:g} s after its time-out; check the brokers"
            raise ClientLost(message) from error
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if not cause.retriable():
                raise
            on_retry()
            if monotonic() > deadline_s or stopping.is_set():
                message = f"{what} was not answered within {bound_s:.2g} s ({cause.str()}); check the brokers"
                raise ClientLost(message) from error
            time.sleep(_RETRY_S)
        else:
            return


def in_thread(call: Callable[[], _Result]) -> Future[_Result]:
    """Make a call in a thread of its own, which can be abandoned with its client; return its result.

    Raises:
        ClientLost: The system starts no further thread; nothing was called.
    """
    returned: Future[_Result] = Future()

    def make() -> None:
        try:
            returned.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised again by returned.result()
            returned.set_exception(error)

    try:
        threading.Thread(target=make, name="call", daemon=True).start()
    except RuntimeError as error:
        raise no_thread(error) from error
    return returned


def no_thread(error: RuntimeError) -> ClientLost:
    """Return the error to raise if Python reports that no thread can be started."""
    message = f"the system starts no further thread of this process ({error}); {MORE_THREADS}"
    return ClientLost(message, reason=KafkaError(KafkaError._CRIT_SYS_RESOURCE).name())
