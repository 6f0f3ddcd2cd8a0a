"""What is said of a record that cannot be read; the caller knows its topic, partition and offset."""

from pydantic import ValidationError

from driftgauge.errors import StateError

__all__ = ["damaged", "demand", "other_version"]


def other_version(what: str, version: int, read: int) -> StateError:
    """Return the error for a version that this driftgauge does not read.

    Args:
        what: The record, such as "a changelog record of kind pane".
        version: The version it is of.
        read: The version that can be read.
    """
    message = f"{what} is of version {version}, and this version of driftgauge reads {read}"
    if version > read:
        return StateError(f"{message}: a later version of driftgauge wrote it; update this replica")
    remedy = "an earlier version of driftgauge wrote it; run that version, or use another topics.internal"
    return StateError(f"{message}: {remedy}")


def damaged(what: str, error: Exception) -> StateError:
    """Return the error for a record that breaks its format.

    Args:
        what: As in `other_version`.
        error: How it breaks it; of a pydantic error the first fault, without the value.
    """
    fault = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    remedy = "it is damaged, or driftgauge did not write it; let nothing else write to this topic"
    return StateError(f"{what} is malformed ({fault}): {remedy}, and use another topics.internal")


def demand(fulfilled: object, otherwise: str) -> None:
    """Check a record.

    Raises:
        ValueError: The demand is not fulfilled; the message says `otherwise`.
    """
    if not fulfilled:
        raise ValueError(otherwise)
