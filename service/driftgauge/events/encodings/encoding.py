"""What every encoding does: it decodes the values of a topic's records."""

from collections.abc import Mapping

from driftgauge.events.records import RawRecord

__all__ = ["Encoding"]


class Encoding:
    """Decodes the values of a topic's records; one thread's. Its module's `build` makes it.

    Values are JSON's, bytes, or messages of Protobuf, which paths lead into.
    """

    def decode(self, record: RawRecord) -> object:
        """Return a record's value, exactly.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: Its schema is not known yet.
        """
        raise NotImplementedError

    def decode_mapped(self, record: RawRecord) -> object:
        """Return a record's value for its mapping, in less time: without what the mapping does not read.

        A vector may be a view of floats or doubles.

        Raises:
            EventError, SchemaPending: As `decode`, which judges what this way is not sure of.
        """
        return self.decode(record)

    def attributes(self, record: RawRecord) -> Mapping[str, object] | None:
        """Return the fields of a record's value that are known without decoding it; None if none are."""
        return None
