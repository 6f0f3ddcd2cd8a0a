"""The errors of a transactional producer's calls: what failed, for which transactional id, and the remedy."""

from typing import Final

from confluent_kafka import KafkaError

from driftgauge.errors import AuthorizationError, TransactionFailed
from driftgauge.kafka.rights import missing_right

__all__ = ["call_denied", "call_failed", "call_refused", "membership_lost"]

# Brokers report both causes by the same error.
_FENCED: Final = (
    "the transaction was open for longer than transaction.timeout.ms, or another process uses this "
    "replica's name; give each process its own name, and look for pauses of this one"
)
_FAILED: Final = "a new producer replaces this one; if this repeats, check the brokers"


def call_denied(
    call: str, transactional_id: str, cause: KafkaError, *, group: str | None = None
) -> AuthorizationError:
    """Return the error of a call that the cluster denies; `group` is that of the offsets."""
    remedy = missing_right(cause, group=group, transactional_id=transactional_id)
    return AuthorizationError(f"{call} is not allowed ({cause.str()}); {remedy}", reason=cause.name())


def call_failed(call: str, transactional_id: str, cause: KafkaError) -> TransactionFailed:
    """Return the error of a call after which there is no producer."""
    is_fenced = cause.code() == KafkaError._FENCED
    return TransactionFailed(
        f"{call} failed for good ({cause.str()}) for the transactional id {transactional_id}; "
        f"{_FENCED if is_fenced else _FAILED}",
        is_fenced=is_fenced,
    )


def call_refused(call: str, transactional_id: str, cause: KafkaError) -> TransactionFailed:
    """Return the error of a call whose transaction was aborted."""
    return TransactionFailed(
        f"{call} was refused ({cause.str()}) for the transactional id {transactional_id}; its work is "
        "repeated; if this repeats, check the brokers, and min.insync.replicas of the topics"
    )


def membership_lost(group: str) -> TransactionFailed:
    """Return the error of a consumer that is no longer the member of its group that it was."""
    return TransactionFailed(
        f"this consumer has lost its place in its group {group}, and others may own its partitions; nothing "
        "was committed, and it joins again; if this repeats, look for pauses of this process"
    )
