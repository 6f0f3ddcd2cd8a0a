"""What may be done to the service and its brokers, and for how long, by the brokers that there are."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
EXTRA: Final = "replica-4"
# Where there are several brokers this one comes to them by a relay.
RELAYED: Final = "replica-3"

# How long something is gone before it is replaced or started again, at the most.
GONE_S: Final = 2.0


SOCKET_TIMEOUT_S: Final = 10.0
# Beyond the time after which clients give up a request.
BROKER_PAUSE_S: Final = (SOCKET_TIMEOUT_S + 2.0, SOCKET_TIMEOUT_S + 5.0)
BELOW_MINIMUM_S: Final = 120.0
CUT_S: Final = (1.0, 15.0)


class DisruptionKind(StrEnum):
    """The kinds of disruption."""

    KILL = "kill -9, replaced"
    PAUSE = "SIGSTOP, SIGCONT"
    TERMINATE = "SIGTERM, replaced"
    ADD = "added"
    REMOVE = "removed"
    CUT = "network cut, mended"
    HOLD = "commit held, delivered late"
    BROKER_RESTART = "restarted"
    BROKER_KILL = "kill -9, restarted"
    BROKER_PAUSE = "SIGSTOP, SIGCONT as a broker"
    BELOW_MINIMUM = "ISR below the minimum"


class BrokerRole(StrEnum):
    """What a broker is when it is disrupted."""

    BROKER = "broker"
    EVENTS = "leader of events"
    PARTIALS = "leader of partials"
    CHANGELOG = "leader of changelog"
    GROUP = "group coordinator"
    TRANSACTIONS = "transaction coordinator"
    CONTROLLER = "controller"
    MOST = "all brokers but one"


TO_A_REPLICA: Final = (DisruptionKind.KILL, DisruptionKind.PAUSE, DisruptionKind.TERMINATE)
BY_THE_RELAY: Final = (DisruptionKind.CUT, DisruptionKind.HOLD)
LEADERS: Final = (
    BrokerRole.EVENTS,
    BrokerRole.PARTIALS,
    BrokerRole.CHANGELOG,
    BrokerRole.GROUP,
    BrokerRole.TRANSACTIONS,
)


@dataclass(frozen=True)
class Choice:
    """A kind of disruption, and the role of the broker that it meets; None: it meets a replica."""

    kind: DisruptionKind
    role: BrokerRole | None = None


@dataclass(frozen=True)
class Profile:
    """What a run does, by the brokers it has.

    Attributes:
        brokers: How many brokers there are.
        often: What is done in turn, each once a round.
        once: What takes so long that it is done once.
        session_s: The session timeout of the service's groups.
        gone_s: How long a broker is gone, at the least and at the most.
        pause_s: How long a replica is paused, at the least and at the most: past its session.
    """

    brokers: int
    often: tuple[Choice, ...]
    once: tuple[Choice, ...]
    session_s: float
    gone_s: tuple[float, float]
    pause_s: tuple[float, float]

    def away_s(self, kind: DisruptionKind) -> tuple[float, float]:
        """How long a disruption lasts, at the least and at the most."""
        match kind:
            case DisruptionKind.PAUSE:
                return self.pause_s
            case DisruptionKind.CUT:
                return CUT_S
            case DisruptionKind.BROKER_PAUSE:
                return BROKER_PAUSE_S
            case DisruptionKind.BELOW_MINIMUM:
                return BELOW_MINIMUM_S, BELOW_MINIMUM_S
            case DisruptionKind.BROKER_KILL | DisruptionKind.BROKER_RESTART:
                return self.gone_s
            case _:
                return 0.0, GONE_S


_REPLICA_KINDS: Final = (*TO_A_REPLICA, DisruptionKind.ADD, DisruptionKind.REMOVE)
ONE_BROKER: Final = Profile(
    brokers=1,
    often=(
        *map(Choice, _REPLICA_KINDS),
        Choice(DisruptionKind.BROKER_RESTART, BrokerRole.BROKER),
        Choice(DisruptionKind.BROKER_KILL, BrokerRole.BROKER),
    ),
    once=(),
    session_s=3.0,
    gone_s=(0.0, GONE_S),
    # Now and then past its transaction's 10 s as well.
    pause_s=(4.0, 14.0),
)
SHORT: Final = replace(ONE_BROKER, pause_s=(4.0, 6.0))
THREE_BROKERS: Final = Profile(
    brokers=3,
    often=(
        *map(Choice, (*_REPLICA_KINDS, *BY_THE_RELAY)),
        *(Choice(DisruptionKind.BROKER_KILL, role) for role in LEADERS),
        *(Choice(DisruptionKind.BROKER_RESTART, role) for role in LEADERS),
        Choice(DisruptionKind.BROKER_RESTART, BrokerRole.CONTROLLER),
    ),
    once=(
        Choice(DisruptionKind.BROKER_PAUSE, BrokerRole.PARTIALS),
        Choice(DisruptionKind.BELOW_MINIMUM, BrokerRole.MOST),
    ),
    # The tests' brokers are declared dead after 3 s, and a coordinator has to be found again after that.
    session_s=8.0,
    gone_s=(5.0, 12.0),
    pause_s=(9.0, 19.0),
)
