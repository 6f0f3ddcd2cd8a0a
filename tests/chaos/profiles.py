"""The disruptions of a chaos run and their durations, by the number of brokers."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
EXTRA_REPLICA: Final = "replica-4"
# This replica connects through a relay if the plan disrupts its connections.
RELAYED_REPLICA: Final = "replica-3"

# The longest time before a stopped process is replaced or restarted.
MAX_DOWNTIME_S: Final = 2.0
SOCKET_TIMEOUT_S: Final = 10.0
# Longer than the clients' request timeout.
BROKER_PAUSE_S: Final = (SOCKET_TIMEOUT_S + 2.0, SOCKET_TIMEOUT_S + 5.0)
BELOW_MINIMUM_S: Final = 120.0
CUT_S: Final = (1.0, 15.0)
# Several of the service's attempts at a new producer, each of 5 s, fail meanwhile.
BUSY_S: Final = (12.0, 18.0)


class DisruptionKind(StrEnum):
    """The kinds of disruption."""

    KILL = "kill -9, replaced"
    PAUSE = "SIGSTOP, SIGCONT"
    TERMINATE = "SIGTERM, replaced"
    ADD = "added"
    REMOVE = "removed"
    CUT = "network cut, mended"
    HOLD = "commit held, delivered late"
    SLOW = "coordinator slow, then busy"
    BROKER_RESTART = "restarted"
    BROKER_KILL = "kill -9, restarted"
    BROKER_PAUSE = "SIGSTOP, SIGCONT as a broker"
    BELOW_MINIMUM = "ISR below the minimum"


class BrokerRole(StrEnum):
    """The role by which a broker is chosen for a disruption."""

    BROKER = "broker"
    EVENTS = "leader of events"
    PARTIALS = "leader of partials"
    CHANGELOG = "leader of changelog"
    GROUP = "group coordinator"
    TRANSACTIONS = "transaction coordinator"
    CONTROLLER = "controller"
    ALL_BUT_ONE = "all brokers but one"


REPLICA_DISRUPTIONS: Final = (DisruptionKind.KILL, DisruptionKind.PAUSE, DisruptionKind.TERMINATE)
RELAY_DISRUPTIONS: Final = (DisruptionKind.CUT, DisruptionKind.HOLD, DisruptionKind.SLOW)
LEADERS: Final = (
    BrokerRole.EVENTS,
    BrokerRole.PARTIALS,
    BrokerRole.CHANGELOG,
    BrokerRole.GROUP,
    BrokerRole.TRANSACTIONS,
)


@dataclass(frozen=True)
class Choice:
    """A kind of disruption and the role of its broker; None: its target is a replica."""

    kind: DisruptionKind
    role: BrokerRole | None = None


@dataclass(frozen=True)
class Profile:
    """The disruptions of a run with a given number of brokers.

    Attributes:
        brokers: The number of brokers.
        repeated: Choices made in rounds, each once a round.
        single: Choices made once a run, because they take long.
        session_s: The session timeout of the service's groups.
        downtime_s: Least and greatest downtime of a broker.
        pause_s: Least and greatest pause of a replica; longer than its session timeout.
    """

    brokers: int
    repeated: tuple[Choice, ...]
    single: tuple[Choice, ...]
    session_s: float
    downtime_s: tuple[float, float]
    pause_s: tuple[float, float]

    def away_s(self, kind: DisruptionKind) -> tuple[float, float]:
        """Return the least and the greatest duration of a kind of disruption."""
        durations_s = {
            DisruptionKind.PAUSE: self.pause_s,
            DisruptionKind.CUT: CUT_S,
            DisruptionKind.SLOW: BUSY_S,
            DisruptionKind.BROKER_PAUSE: BROKER_PAUSE_S,
            DisruptionKind.BELOW_MINIMUM: (BELOW_MINIMUM_S, BELOW_MINIMUM_S),
            DisruptionKind.BROKER_KILL: self.downtime_s,
            DisruptionKind.BROKER_RESTART: self.downtime_s,
        }
        return durations_s.get(kind, (0.0, MAX_DOWNTIME_S))


_REPLICA_KINDS: Final = (*REPLICA_DISRUPTIONS, DisruptionKind.ADD, DisruptionKind.REMOVE)
ONE_BROKER: Final = Profile(
    brokers=1,
    repeated=(
        *map(Choice, (*_REPLICA_KINDS, DisruptionKind.SLOW)),
        Choice(DisruptionKind.BROKER_RESTART, BrokerRole.BROKER),
        Choice(DisruptionKind.BROKER_KILL, BrokerRole.BROKER),
    ),
    single=(),
    session_s=3.0,
    downtime_s=(0.0, MAX_DOWNTIME_S),
    # Some pauses also outlast the transaction timeout of 10 s.
    pause_s=(4.0, 14.0),
)
SHORT: Final = replace(ONE_BROKER, pause_s=(4.0, 6.0))
THREE_BROKERS: Final = Profile(
    brokers=3,
    repeated=(
        *map(Choice, (*_REPLICA_KINDS, *RELAY_DISRUPTIONS)),
        *(Choice(DisruptionKind.BROKER_KILL, role) for role in LEADERS),
        *(Choice(DisruptionKind.BROKER_RESTART, role) for role in LEADERS),
        Choice(DisruptionKind.BROKER_RESTART, BrokerRole.CONTROLLER),
    ),
    single=(
        Choice(DisruptionKind.BROKER_PAUSE, BrokerRole.PARTIALS),
        Choice(DisruptionKind.BELOW_MINIMUM, BrokerRole.ALL_BUT_ONE),
    ),
    # The test brokers are fenced after 3 s, and a new coordinator must be found after that.
    session_s=8.0,
    downtime_s=(5.0, 12.0),
    pause_s=(9.0, 19.0),
)
