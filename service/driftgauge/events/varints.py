"""Varints, as Avro and Protobuf write whole numbers: seven bits a byte, the lowest first."""

__all__ = ["from_zigzag", "read_varint"]

# An int64 takes ten bytes of seven bits.
_LONGEST = 10
_MORE, _BITS = 0x80, 0x7F


def read_varint(raw: bytes, start: int, longest: int = _LONGEST) -> tuple[int, int]:
    """Return the number of a varint, without a sign, and the position after it.

    Raises:
        ValueError: The bytes end within it, or it has more than the longest.
    """
    value = 0
    for i, byte in enumerate(raw[start : start + longest]):
        value |= (byte & _BITS) << 7 * i
        if byte < _MORE:
            return value, start + i + 1
    message = f"the bytes end within a varint, or it has over {longest}"
    raise ValueError(message)


def from_zigzag(value: int) -> int:
    """Return the number with a sign that zigzag has written as one without."""
    return (value >> 1) ^ -(value & 1)
