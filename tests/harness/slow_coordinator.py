"""A transaction coordinator that is slow, then busy, as the relay's clients see it."""

import re
import threading
import time
from typing import Final

from confluent_kafka import KafkaError

from tests.harness.protocol import ApiKey, ProtocolRequest

# Longer than any client waits for an answer.
_HELD_S: Final = 120.0
_OFFSETS: Final = {ApiKey.ADD_OFFSETS_TO_TXN, ApiKey.TXN_OFFSET_COMMIT}


class SlowCoordinator:
    """Holds the offsets of a role's transactions until a new producer starts, and refuses it for a while.

    The error is CONCURRENT_TRANSACTIONS. When a producer is accepted, the held requests are delivered.
    """

    def __init__(self, role: str, busy_s: float) -> None:
        """Start with the next offsets.

        Args:
            role: The last part of the transactional ids.
            busy_s: How long producers are refused.
        """
        # A producer that finds its id busy adds a number to it.
        self._ids = re.compile(rf".*\.{role}(\.\d+)?")
        self._busy_s = busy_s
        self._has_held = threading.Event()
        self._busy_until_s: float | None = None
        self._is_over = threading.Event()

    def wait_while_held(self, request: ProtocolRequest) -> None:
        """Block while the request is held."""
        if request.api in _OFFSETS and self._concerns(request):
            self._has_held.set()
            self._is_over.wait(_HELD_S)

    def refusal(self, request: ProtocolRequest) -> bytes | None:
        """Return the answer to a producer that is refused; None if the request is forwarded."""
        if (
            request.api != ApiKey.INIT_PRODUCER_ID
            or not self._has_held.is_set()
            or not self._concerns(request)
        ):
            return None
        now_s = time.monotonic()
        if self._busy_until_s is None:
            self._busy_until_s = now_s + self._busy_s
        if now_s < self._busy_until_s:
            return request.refuse_producer(KafkaError.CONCURRENT_TRANSACTIONS)
        self._is_over.set()
        return None

    def end(self, within_s: float) -> bool:
        """Wait until a producer was refused and then accepted; return False after the time-out.

        In either case nothing is held or refused from then on.
        """
        is_over = self._is_over.wait(within_s)
        self._is_over.set()
        return is_over

    def _concerns(self, request: ProtocolRequest) -> bool:
        is_of_role = self._ids.fullmatch(request.transactional_id or "") is not None
        return is_of_role and not self._is_over.is_set()
