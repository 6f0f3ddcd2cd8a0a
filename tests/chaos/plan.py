"""The plan of a chaos run: which disruptions, when and of which targets, as options and seed determine it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tests.harness.broker import BROKER, COMBINED, CONTROLLER, KafkaCluster
from tests.harness.service import DRIFTGAUGE

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

# No disruption starts before this time. The last part of the run is reserved for delays.
CALM_S: Final = 6.0
RESERVE: Final = 0.15
# The time a disruption needs besides its duration.
RECOVERY_S: Final = 5.0
# Two overlapping disruptions start at most this far apart.
OVERLAP_S: Final = 2.0
SINGLES_PER_PAIR: Final = 6


@dataclass(frozen=True)
class Disruption:
    """One disruption of one target.

    Attributes:
        kind: Its kind.
        target: A replica's name, or a broker's role.
        after_s: Time from the start of its step.
        away_s: How long the target is paused or unavailable, or down before it is replaced or restarted.
    """

    kind: DisruptionKind
    target: str
    after_s: float
    away_s: float


@dataclass(frozen=True)
class Step:
    """One disruption, or two that overlap.

    Attributes:
        at_s: Time from the first event; the step starts later if the recovery from the previous one lasts.
        disruptions: The disruptions.
    """

    at_s: float
    disruptions: tuple[Disruption, ...]

    @property
    def needed_s(self) -> float:
        return RECOVERY_S + max(each.after_s + each.away_s for each in self.disruptions)


def make_plan(seed: int, disruptions: int, seconds: float, profile: Profile = ONE_BROKER) -> list[Step]:
    """Return steps spread over the run; given enough disruptions, every kind is included, and a pair."""
    rng = random.Random(seed)
    steps = _repeated_choices(rng, disruptions, profile)
    # Choices that are made once come evenly over the last third of the run, each as a step of its own.
    for number, choice in enumerate(profile.single):
        steps.insert(len(steps) * (number + 4) // (len(profile.single) + 4), (choice,))
    running = list(REPLICAS)
    planned = []
    for choices in steps:
        each = _choose_targets(rng, choices, running, profile)
        running += [one.target for one in each if one.kind is DisruptionKind.ADD]
        running = [
            name
            for name in running
            if (DisruptionKind.REMOVE, name) not in {(d.kind, d.target) for d in each}
        ]
        planned.append(Step(0.0, each))
    return _spread(rng, planned, seconds)


def _repeated_choices(rng: random.Random, disruptions: int, profile: Profile) -> list[tuple[Choice, ...]]:
    number = max(0, disruptions - len(profile.single))
    pairs = max(1, number // (SINGLES_PER_PAIR + 2)) if number > 1 else 0
    singles: list[Choice] = []
    while len(singles) < number - 2 * pairs:
        singles += _shuffled_choices(rng, profile)
    steps: list[tuple[Choice, ...]] = [(choice,) for choice in singles[: number - 2 * pairs]]
    of_brokers = [choice for choice in profile.repeated if choice.role is not None]
    of_replicas = [Choice(kind) for kind in REPLICA_DISRUPTIONS]
    for _ in range(pairs):
        pair = (rng.choice(of_replicas), rng.choice(of_replicas + of_brokers))
        steps.insert(rng.randint(0, len(steps)), pair)
    return steps


def _shuffled_choices(rng: random.Random, profile: Profile) -> list[Choice]:
    choices = rng.sample(profile.repeated, len(profile.repeated))
    added, removed = choices.index(Choice(DisruptionKind.ADD)), choices.index(Choice(DisruptionKind.REMOVE))
    if removed < added:
        choices[added], choices[removed] = choices[removed], choices[added]
    return choices


def _choose_targets(
    rng: random.Random, choices: tuple[Choice, ...], running: list[str], profile: Profile
) -> tuple[Disruption, ...]:
    victims = rng.sample(running, len(choices))
    disruptions = []
    for choice, victim in zip(choices, victims, strict=True):
        match choice.kind:
            case DisruptionKind.ADD | DisruptionKind.REMOVE:
                target = EXTRA_REPLICA
            case kind if kind in RELAY_DISRUPTIONS:
                target = RELAYED_REPLICA
            case _:
                target = victim if choice.role is None else choice.role.value
        disruptions.append(Disruption(choice.kind, target, 0.0, rng.uniform(*profile.away_s(choice.kind))))
    first, *others = disruptions
    return first, *(replace(other, after_s=rng.uniform(0.0, OVERLAP_S)) for other in others)


def _spread(rng: random.Random, steps: list[Step], seconds: float) -> list[Step]:
    """Give each step a share of the run in proportion to its need, and start it at random in the slack."""
    needed_s = sum(step.needed_s for step in steps)
    stretch = (seconds * (1 - RESERVE) - CALM_S) / max(needed_s, 1.0)
    plan, begin_s = [], CALM_S
    for step in steps:
        slack_s = max(0.0, step.needed_s * (stretch - 1))
        plan.append(replace(step, at_s=begin_s + rng.uniform(0, slack_s)))
        begin_s += step.needed_s * stretch
    return plan


RECOVERY_LIMIT_S: Final = 60.0
# The burst is held before this part of the run.
EARLIEST: Final = 0.3
BEFORE_STEP_S: Final = 3.0


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        events: The number of events, one in a thousand of them invalid.
        disruptions: The number of disruptions while events are published.
        seconds: The duration of publishing.
        seed: Determines the events and the plan.
        profile: The number of brokers and the possible disruptions.
        plan: Replaces the plan that the seed determines.
        program: The arguments of Python that start a replica.
        settle_s: The longest wait, without a new count, until all events are counted and shown.
        busy: The number of busy loops beside the run.
    """

    events: int
    disruptions: int
    seconds: float
    seed: int
    profile: Profile = ONE_BROKER
    plan: tuple[Step, ...] | None = None
    program: Sequence[str] = DRIFTGAUGE
    settle_s: float = 120.0
    busy: int = 0

    @property
    def steps(self) -> Sequence[Step]:
        if self.plan is not None:
            return self.plan
        return make_plan(self.seed, self.disruptions, self.seconds, self.profile)

    @property
    def released_s(self) -> float:
        """When the burst is released: just before a step, so that its windows close during a disruption."""
        earliest_s = EARLIEST * self.seconds
        at_s = (step.at_s - BEFORE_STEP_S for step in self.steps)
        return next((each for each in at_s if each >= earliest_s), earliest_s)

    @property
    def recovery_limit_s(self) -> float:
        """The longest recovery that is not too slow."""
        return RECOVERY_LIMIT_S * (1 + self.busy)

    @property
    def needs_relay(self) -> bool:
        return any(each.kind in RELAY_DISRUPTIONS for step in self.steps for each in step.disruptions)

    def make_cluster(self) -> KafkaCluster:
        """Return a cluster of one combined node, or of several brokers and a separate controller."""
        if self.profile.brokers == 1:
            return KafkaCluster([COMBINED], heap_mib=256)
        return KafkaCluster([CONTROLLER, *[BROKER] * self.profile.brokers], replication=3, min_insync=2)
