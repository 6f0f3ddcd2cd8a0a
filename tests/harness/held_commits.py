"""A commit that the relay holds until the next transaction."""

import threading
from enum import Enum
from typing import Final

from tests.harness.protocol import ApiKey, ProtocolRequest

ANSWER_S: Final = 30.0
HOLD_S: Final = 60.0
# Requests that may follow the first records of a transaction.
_NEXT_PARTS: Final = {ApiKey.PRODUCE, ApiKey.ADD_OFFSETS_TO_TXN, ApiKey.END_TXN}


class Action(Enum):
    """The relay's action on a request."""

    FORWARD = "forward it"
    HOLD = "hold it until it is due"
    DELIVER_HELD_FIRST = "deliver the held commit, and forward this request after its answer"


class HeldCommit:
    """Decides which commit of a transactional producer is held, and when it is delivered.

    The first commit is held. The client sends it again, the relay forwards that one, and the next
    transaction begins. After the first records of that transaction the held commit is delivered, before
    further records and offsets: under the same epoch it commits those first records.

    Attributes:
        transactional_id: The producer whose commit is held; None before the first commit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._was_repeated = False
        self._has_records = False
        self._is_due = threading.Event()
        self._is_answered = threading.Event()
        self.transactional_id: str | None = None

    def next_action(self, request: ProtocolRequest) -> Action:
        """Return the action for a request; call it for each request in turn."""
        with self._lock:
            if self.transactional_id is None:
                if request.commits:
                    self.transactional_id = request.transactional_id
                    return Action.HOLD
            elif request.transactional_id == self.transactional_id and not self._is_due.is_set():
                return self._action_of_producer(request.api)
            return Action.FORWARD

    def _action_of_producer(self, api: int) -> Action:
        if not self._was_repeated:
            self._was_repeated = api == ApiKey.END_TXN
        elif self._has_records and api in _NEXT_PARTS:
            self._is_due.set()
            return Action.DELIVER_HELD_FIRST
        else:
            self._has_records |= api == ApiKey.PRODUCE
        return Action.FORWARD

    def wait_until_due(self, within_s: float) -> bool:
        """Wait until the held commit is due; return False after the time-out."""
        return self._is_due.wait(within_s)

    def wait_until_delivered(self, within_s: float = ANSWER_S) -> bool:
        """Wait until the broker has answered the held commit; return False after the time-out."""
        return self._is_answered.wait(within_s)

    def record_answer(self) -> None:
        """Record an answer on the held commit's connection; earlier answers belong to other requests."""
        if self._is_due.is_set():
            self._is_answered.set()
