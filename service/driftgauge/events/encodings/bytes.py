"""Bytes that are the vector."""

from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.records import RawRecord

__all__ = ["build"]


class _Bytes(Encoding):
    def decode(self, record: RawRecord) -> object:
        """Return the bytes of a record."""
        return record.value()


def build(_: object, __: object) -> Encoding:
    """Return the encoding."""
    return _Bytes()
