"""The errors driftgauge raises, one tree.

DriftgaugeError
├── UserError           what the operator gave cannot be used; exit status 2
│   ├── ConfigError     configuration or command line
│   ├── BaselineError   a baseline that cannot be fitted, read or trusted
│   └── InputError      a file of vectors or events that cannot be used
└── ServiceError        the surroundings failed; exit status 1, a supervisor restarts
    ├── BrokerError     Kafka did not do what was asked; later it may
    │   ├── TransactionAborted  nothing of a transaction stands: begin again from what was committed
    │   ├── ClientLost          a client can do no more: make a new one
    │   └── ClockError          this clock and the brokers' differ: wait until it is set
    ├── AuthorizationError  the cluster does not let us in, or not do this
    └── StateError      the state kept in Kafka cannot be used

A bad event is not an error: it is a counted, dead-lettered `events.rejection.Rejection`.
Every message says what was wrong, where, and what to do.
"""

from collections.abc import Iterable, Sequence

__all__ = [
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
    "TransactionAborted",
    "UserError",
]


class DriftgaugeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the process's status."""

    exit_code = 1


class UserError(DriftgaugeError):
    """What the operator gave cannot be used; trying again unchanged cannot help."""

    exit_code = 2


class ConfigError(UserError):
    """The configuration cannot be used; the message lists every problem found.

    Attributes:
        problems: The problems, where there may be several.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("".join([message, *(f"\n  - {problem}" for problem in problems)]))
        self.problems = tuple(problems)


class BaselineError(UserError):
    """A baseline cannot be fitted, read or trusted."""


class InputError(UserError):
    """A file of vectors or events cannot be used."""


class ServiceError(DriftgaugeError):
    """The surroundings failed; a restart may help."""


class BrokerError(ServiceError):
    """Kafka did not do what was asked of it; later it may."""


class TransactionAborted(BrokerError):  # noqa: N818 - an outcome, and Kafka's own word for it
    """Nothing of a transaction stands; what it was to keep must be counted again.

    Attributes:
        unwritable: The partitions, topic and index, that did not take its records in time.
        too_large: Those whose topic refused a record for its size.
    """

    def __init__(
        self,
        message: str,
        *,
        unwritable: Iterable[tuple[str, int]] = (),
        too_large: Iterable[tuple[str, int]] = (),
    ) -> None:
        super().__init__(message)
        self.unwritable = frozenset(unwritable)
        self.too_large = frozenset(too_large)


class ClientLost(BrokerError):  # noqa: N818 - a state rather than a fault
    """A Kafka client can do no more, or what it last did is in doubt; a new one can.

    Attributes:
        is_fenced: Another process has taken its name, or the brokers ended its transaction for its age.
    """

    def __init__(self, message: str, *, is_fenced: bool = False) -> None:
        super().__init__(message)
        self.is_fenced = is_fenced


class ClockError(BrokerError):
    """This replica's clock differs from the brokers' by more than event times can bear."""


class AuthorizationError(ServiceError):
    """The cluster does not let this client in, or does not let it do what it must."""


class StateError(ServiceError):
    """The state kept in Kafka cannot be used."""
