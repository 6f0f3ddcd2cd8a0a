"""The errors that driftgauge raises, one tree.

DriftgaugeError
├── UserError           the operator's input cannot be used; exit status 2
│   ├── ConfigError     configuration or command line
│   ├── BaselineError   a baseline that cannot be fitted, read or trusted
│   └── InputError      a file of vectors or events that cannot be used
└── ServiceError        the environment failed; exit status 1, a supervisor restarts
    ├── BrokerError     Kafka failed a request that may succeed later
    │   ├── TransactionFailed   a transaction failed: resume from the committed offsets
    │   ├── ClientLost          a client is unusable: create a new one
    │   └── ClockError          this clock and the brokers' differ: wait until it is corrected
    ├── AuthorizationError  the cluster denies this client access, or an operation: wait for the right
    └── StateError      the state in Kafka cannot be used

A bad event is not an error: it is a counted, dead-lettered `events.rejection.Rejection`.
Every message says what happened, where, and what to do.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

__all__ = [
    "MORE_THREADS",
    "AuthorizationError",
    "BaselineError",
    "BrokerError",
    "ClientLost",
    "ClockError",
    "ConfigError",
    "DriftgaugeError",
    "InputError",
    "ServiceError",
    "StateError",
    "TransactionFailed",
    "UserError",
    "refuse_problems",
]


MORE_THREADS: Final = (
    "raise the limit of the process's threads, to 30 x (brokers + 4) at least: pids in Compose, podPidsLimit "
    "of the kubelet"
)
"""The remedy if the system starts no further thread."""


class DriftgaugeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the process's status."""

    exit_code = 1


class UserError(DriftgaugeError):
    """The operator's input cannot be used; a retry without a change cannot help."""

    exit_code = 2


class ConfigError(UserError):
    """The configuration cannot be used; the message lists the problems of its keys, or else those of files.

    Attributes:
        problems: The problems, if the message lists them.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("".join([message, *(f"\n  - {problem}" for problem in problems)]))
        self.problems = tuple(problems)


def refuse_problems(name: object, problems: Sequence[str]) -> None:
    """Raise a ConfigError that lists the problems of what the name says, if there are any."""
    if problems:
        message = f"{name} cannot be used; correct:"
        raise ConfigError(message, problems)


class BaselineError(UserError):
    """A baseline cannot be fitted, read or trusted."""


class InputError(UserError):
    """A file of vectors or events cannot be used."""


class ServiceError(DriftgaugeError):
    """The environment failed; a restart may help.

    Attributes:
        reason: The Kafka client's name of the error, such as _AUTHENTICATION; empty without one.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class BrokerError(ServiceError):
    """Kafka failed a request that may succeed later."""


class TransactionFailed(BrokerError):  # noqa: N818 - an outcome
    """A transaction was aborted, or its outcome is unknown; its events are read again as far as needed.

    Attributes:
        unwritable: The partitions, topic and index, that did not accept records in time.
        too_large: The partitions whose topic refused a record for its size, and the key of one such record.
        is_slow: All partitions took records, but not all records in time.
        is_fenced: Another process has the same transactional id, or the brokers timed out its transaction.
    """

    def __init__(
        self,
        message: str,
        *,
        unwritable: Iterable[tuple[str, int]] = (),
        too_large: Mapping[tuple[str, int], bytes | None] = MappingProxyType({}),
        is_slow: bool = False,
        is_fenced: bool = False,
        reason: str = "",
    ) -> None:
        super().__init__(message, reason=reason)
        self.unwritable = frozenset(unwritable)
        self.too_large = dict(too_large)
        self.is_slow = is_slow
        self.is_fenced = is_fenced


class ClientLost(BrokerError):  # noqa: N818 - a state rather than a fault
    """A Kafka client is unusable; a new session with new clients is needed."""


class ClockError(BrokerError):
    """This replica's clock differs from the brokers' by more than event time allows."""


class AuthorizationError(ServiceError):
    """The cluster denies this client access, or a required operation."""


class StateError(ServiceError):
    """The state in Kafka cannot be used."""
