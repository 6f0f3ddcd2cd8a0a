"""Requests of transactions that the relay holds, delivers late or refuses."""

import re
import threading
import time
from dataclasses import dataclass
from enum import Enum, IntEnum
from io import BytesIO
from typing import Final, Self

from confluent_kafka import KafkaError


class ApiKey(IntEnum):
    """The API keys of the requests that decide what is held."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


LENGTH_BYTES: Final = 4
"""The size of the length in front of each request and answer."""

# From this version on headers have tagged fields and strings have variable lengths (KIP-482).
_FLEXIBLE_FROM: Final = {
    ApiKey.PRODUCE: 9,
    ApiKey.INIT_PRODUCER_ID: 2,
    ApiKey.ADD_OFFSETS_TO_TXN: 3,
    ApiKey.END_TXN: 3,
    ApiKey.TXN_OFFSET_COMMIT: 3,
}


@dataclass(frozen=True)
class ProtocolRequest:
    """A request of the protocol.

    Attributes:
        api: The API key.
        correlation_id: The correlation id, which the answer repeats.
        transactional_id: The producer's transactional id; None outside transactions.
        commits: Whether the request commits a transaction.
        is_flexible: Whether the request's version, and so the answer's, has tagged fields.
    """

    api: int
    correlation_id: int
    transactional_id: str | None = None
    commits: bool = False
    is_flexible: bool = False

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Parse a request, without its length prefix."""
        fields = _Fields(frame)
        api, version, correlation_id = fields.integer(2), fields.integer(2), fields.integer(4)
        if api not in _FLEXIBLE_FROM:
            return cls(api, correlation_id)
        is_flexible = version >= _FLEXIBLE_FROM[ApiKey(api)]
        fields.text(fields.integer(2))  # the client id
        if is_flexible:
            fields.tags()
        transactional_id = fields.text(fields.varint() - 1 if is_flexible else fields.integer(2))
        if api != ApiKey.END_TXN:
            return cls(api, correlation_id, transactional_id, is_flexible=is_flexible)
        fields.integer(8)  # the producer's id
        fields.integer(2)  # and its epoch
        return cls(api, correlation_id, transactional_id, bool(fields.integer(1)), is_flexible)

    def refuse_producer(self, error: int) -> bytes:
        """Return the answer, with its length prefix, that refuses an InitProducerId with an error code."""
        tags = b"\x00" if self.is_flexible else b""
        throttle_ms, no_id, no_epoch = bytes(4), b"\xff" * 8, b"\xff" * 2
        head = self.correlation_id.to_bytes(4) + tags
        answer = head + throttle_ms + error.to_bytes(2) + no_id + no_epoch + tags
        return len(answer).to_bytes(LENGTH_BYTES) + answer


class _Fields(BytesIO):
    def integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), signed=True)

    def text(self, length: int) -> str | None:
        return None if length < 0 else self._take(length).decode()

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self._take(self.varint())

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _take(self, size: int) -> bytes:
        piece = self.read(size)
        assert len(piece) == size, "a request ends before its fields do"
        return piece


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
        is_due: Set once the held commit is due.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._was_repeated = False
        self._has_records = False
        self.is_due = threading.Event()
        self._is_answered = threading.Event()
        self.transactional_id: str | None = None

    def next_action(self, request: ProtocolRequest) -> Action:
        """Return the action for a request; call it for each request in turn."""
        with self._lock:
            if self.transactional_id is None and request.commits:
                self.transactional_id = request.transactional_id
                return Action.HOLD
            is_own = self.transactional_id is not None and request.transactional_id == self.transactional_id
            if not is_own or self.is_due.is_set():
                return Action.FORWARD
            if self._has_records and request.api in _NEXT_PARTS:
                self.is_due.set()
                return Action.DELIVER_HELD_FIRST
            self._has_records |= self._was_repeated and request.api == ApiKey.PRODUCE
            self._was_repeated |= request.api == ApiKey.END_TXN
            return Action.FORWARD

    def wait_until_delivered(self, within_s: float = ANSWER_S) -> bool:
        """Wait until the broker has answered the held commit; return False after the time-out."""
        return self._is_answered.wait(within_s)

    def record_answer(self) -> None:
        """Record an answer on the held commit's connection; earlier answers belong to other requests."""
        if self.is_due.is_set():
            self._is_answered.set()


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
        return bool(self._ids.fullmatch(request.transactional_id or "")) and not self._is_over.is_set()
