"""Commits that are held on their way to the broker: one transaction late, or until they are let go."""

import threading
from enum import Enum
from typing import Final

from tests.kafka.frames import ApiKey, ProtocolRequest

ANSWER_S: Final = 5.0
HOLD_S: Final = 60.0
# What may follow the first records of a transaction.
_NEXT_PARTS: Final = {ApiKey.PRODUCE, ApiKey.ADD_OFFSETS_TO_TXN, ApiKey.END_TXN}


class Order(Enum):
    """What to do with a request."""

    FORWARD = "pass it on"
    HOLD = "hold it until it is to be delivered"
    DELIVER_HELD_FIRST = "deliver the held one, and pass this on when that one has been answered"


class HeldCommit:
    """Which request of a transactional producer is held, and when it is delivered.

    The first commit that comes is held. The client sends it again, that one passes, and so the next
    transaction begins. When a part of its records is on the way to the broker, before any other
    part and before its offsets, the held one is delivered: under the same epoch it commits that part.

    Attributes:
        transactional_id: Whose commit is held; None until there is one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._was_repeated = False
        self._has_records = False
        self._is_due = threading.Event()
        self._is_answered = threading.Event()
        self.transactional_id: str | None = None

    @property
    def was_delivered(self) -> bool:
        """Whether the broker has answered the held commit."""
        return self._is_answered.is_set()

    def order(self, request: ProtocolRequest) -> Order:
        """Decide about a request, in the order in which requests come."""
        with self._lock:
            if self.transactional_id is None:
                if request.commits:
                    self.transactional_id = request.transactional_id
                    return Order.HOLD
            elif request.transactional_id == self.transactional_id and not self._is_due.is_set():
                return self._order_of_the_same(request.api)
            return Order.FORWARD

    def _order_of_the_same(self, api: int) -> Order:
        if not self._was_repeated:
            self._was_repeated = api == ApiKey.END_TXN
        elif self._has_records and api in _NEXT_PARTS:
            self._is_due.set()
            return Order.DELIVER_HELD_FIRST
        else:
            self._has_records |= api == ApiKey.PRODUCE
        return Order.FORWARD

    def wait_until_due(self, within_s: float) -> bool:
        """Wait until the held one is to be delivered; False where that does not come."""
        return self._is_due.wait(within_s)

    def wait_until_delivered(self, within_s: float = ANSWER_S) -> bool:
        """Wait until the held one has been answered; False where it is not."""
        return self._is_answered.wait(within_s)

    def note_answer(self) -> None:
        """Note an answer on the way that the held one went; those before it is due are to other requests."""
        if self._is_due.is_set():
            self._is_answered.set()


class StoppedCommits:
    """The commits of one kind of producer, none of which reaches the broker until all are let go."""

    def __init__(self, names_end: str) -> None:
        """Stop those of transactional ids that end so."""
        self._names_end = names_end
        self._have_come = threading.Event()
        self._are_let_go = threading.Event()

    def pass_when_let_go(self, request: ProtocolRequest) -> None:
        """Return at once, but for such a commit."""
        if request.commits and (request.transactional_id or "").endswith(self._names_end):
            self._have_come.set()
            self._are_let_go.wait(HOLD_S)

    def wait_until_one_has_come(self) -> None:
        assert self._have_come.wait(HOLD_S), "no commit has come"

    def let_go(self) -> None:
        self._are_let_go.set()
