"""Requests of Kafka's protocol, parsed as far as the relay needs."""

from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import Final, Self


class ApiKey(IntEnum):
    """The API keys of a transaction's requests."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


LENGTH_BYTES: Final = 4
"""The size of the length in front of each request and answer."""

# From this version on headers have tagged fields and strings have variable lengths (KIP-482).
_FLEXIBLE_FROM: Final = {
    ApiKey.PRODUCE: 9,
    ApiKey.INIT_PRODUCER_ID: 2,
    ApiKey.ADD_PARTITIONS_TO_TXN: 3,
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
        fields.string()  # the client id
        if is_flexible:
            fields.tags()
        transactional_id = fields.compact_string() if is_flexible else fields.string()
        if api != ApiKey.END_TXN:
            return cls(api, correlation_id, transactional_id, is_flexible=is_flexible)
        fields.integer(8)  # the producer's id
        fields.integer(2)  # and its epoch
        commits = bool(fields.integer(1))
        return cls(api, correlation_id, transactional_id, commits, is_flexible)

    def refuse_producer(self, error: int) -> bytes:
        """Return the answer, with its length prefix, that refuses an InitProducerId with an error code."""
        tags = b"\x00" if self.is_flexible else b""
        answer = self.correlation_id.to_bytes(4) + tags
        answer += (0).to_bytes(4) + error.to_bytes(2)  # the throttle time in front
        answer += (-1).to_bytes(8, signed=True) + (-1).to_bytes(2, signed=True) + tags  # no id and no epoch
        return len(answer).to_bytes(LENGTH_BYTES) + answer


class _Fields(BytesIO):
    def integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), signed=True)

    def string(self) -> str | None:
        length = self.integer(2)
        return None if length < 0 else self._take(length).decode()

    def compact_string(self) -> str | None:
        length = self._varint() - 1
        return None if length < 0 else self._take(length).decode()

    def tags(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            self._take(self._varint())

    def _varint(self) -> int:
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
