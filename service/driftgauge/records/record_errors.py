"""The errors for records that cannot be decoded; the caller adds topic, partition and offset."""

from pydantic import ValidationError

from driftgauge.errors import StateError

__all__ = ["damage_error", "require", "version_error"]


def version_error(name: str, version: int, supported: int) -> StateError:
    """Return the error for a record of another version.

    Args:
        name: The record, such as "a changelog record of kind pane".
        version: The version of the record.
        supported: The version that this driftgauge reads.
    """
    message = f"{name} has format version {version}, and this driftgauge reads version {supported}"
    if version > supported:
        return StateError(f"{message}: a later driftgauge wrote it; update this replica")
    remedy = "an earlier driftgauge wrote it; run that version, or set another topics.internal"
    return StateError(f"{message}: {remedy}")


def damage_error(name: str, error: Exception) -> StateError:
    """Return the error for a record that breaks its format.

    Args:
        name: As in `version_error`.
        error: The fault; of a pydantic error the message has the first fault, without the value.
    """
    fault = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    cause = "it is damaged, or another program wrote it"
    remedy = "keep other programs from writing to this topic, and set another topics.internal"
    return StateError(f"{name} is malformed ({fault}): {cause}; {remedy}")


def require(condition: object, message: str) -> None:
    """Check a condition that a sound record fulfils.

    Raises:
        ValueError: The condition is false; the error has this message.
    """
    if not condition:
        raise ValueError(message)
