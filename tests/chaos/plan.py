"""The plan of a chaos run: which disruptions, when and of which targets, as options and seed determine it."""

import random
from collections.abc import Iterator, Sequence
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
BELOW_MINIMUM_S: Final = 120.0


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
MEMBERSHIP_DISRUPTIONS: Final = (DisruptionKind.ADD, DisruptionKind.REMOVE)
RELAY_DISRUPTIONS: Final = (DisruptionKind.CUT, DisruptionKind.HOLD, DisruptionKind.SLOW)
LEADERS: Final = (
    BrokerRole.EVENTS,
    BrokerRole.PARTIALS,
    BrokerRole.CHANGELOG,
    BrokerRole.GROUP,
    BrokerRole.TRANSACTIONS,
)


@dataclass(frozen=True)
class Disruption:
    """One disruption of one target.

    Attributes:
        kind: Its kind.
        target: A replica's name, or a broker's role; empty in a profile where the plan chooses a replica.
        after_s: Time from the start of its step.
        away_s: How long the target is paused or unavailable, or down before it is replaced or restarted.
    """

    kind: DisruptionKind
    target: str = ""
    after_s: float = 0.0
    away_s: float = 0.0


@dataclass(frozen=True)
class Profile:
    """The disruptions of a run with a given number of brokers.

    Attributes:
        brokers: The number of brokers.
        repeated: Disruptions made in rounds, each once a round.
        single: Disruptions made once a run, because they take long.
        session_s: The session timeout of the service's groups.
        downtime_s: Least and greatest downtime of a broker.
        pause_s: Least and greatest pause of a replica; longer than its session timeout.
    """

    brokers: int
    repeated: tuple[Disruption, ...]
    single: tuple[Disruption, ...]
    session_s: float
    downtime_s: tuple[float, float]
    pause_s: tuple[float, float]

    def away_s(self, kind: DisruptionKind) -> tuple[float, float]:
        """Return the least and the greatest duration of a kind of disruption."""
        durations_s = {
            DisruptionKind.PAUSE: self.pause_s,
            DisruptionKind.CUT: (1.0, 15.0),
            # Several of the service's attempts at a new producer, each of 5 s, fail meanwhile.
            DisruptionKind.SLOW: (12.0, 18.0),
            # Longer than the clients' request timeout.
            DisruptionKind.BROKER_PAUSE: (SOCKET_TIMEOUT_S + 2.0, SOCKET_TIMEOUT_S + 5.0),
            DisruptionKind.BELOW_MINIMUM: (BELOW_MINIMUM_S, BELOW_MINIMUM_S),
            DisruptionKind.BROKER_KILL: self.downtime_s,
            DisruptionKind.BROKER_RESTART: self.downtime_s,
        }
        return durations_s.get(kind, (0.0, MAX_DOWNTIME_S))


_REPLICA_KINDS: Final = (*REPLICA_DISRUPTIONS, *MEMBERSHIP_DISRUPTIONS)
ONE_BROKER: Final = Profile(
    brokers=1,
    repeated=(
        *map(Disruption, (*_REPLICA_KINDS, DisruptionKind.SLOW)),
        Disruption(DisruptionKind.BROKER_RESTART, BrokerRole.BROKER),
        Disruption(DisruptionKind.BROKER_KILL, BrokerRole.BROKER),
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
        *map(Disruption, (*_REPLICA_KINDS, *RELAY_DISRUPTIONS)),
        *(Disruption(DisruptionKind.BROKER_KILL, role) for role in LEADERS),
        *(Disruption(DisruptionKind.BROKER_RESTART, role) for role in LEADERS),
        Disruption(DisruptionKind.BROKER_RESTART, BrokerRole.CONTROLLER),
    ),
    single=(
        Disruption(DisruptionKind.BROKER_PAUSE, BrokerRole.PARTIALS),
        Disruption(DisruptionKind.BELOW_MINIMUM, BrokerRole.ALL_BUT_ONE),
    ),
    # The test brokers are fenced after 3 s, and a new coordinator must be found after that.
    session_s=8.0,
    downtime_s=(5.0, 12.0),
    pause_s=(9.0, 19.0),
)

# No disruption starts before this time.
CALM_S: Final = 6.0


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
        """The longest disruption, and 5 s to recover."""
        return 5.0 + max(each.after_s + each.away_s for each in self.disruptions)


def make_plan(seed: int, disruptions: int, seconds: float, profile: Profile = ONE_BROKER) -> list[Step]:
    """Return steps spread over the run; given enough disruptions, every kind is included, and a pair."""
    rng = random.Random(seed)
    chosen = _choose_repeated(rng, disruptions - len(profile.single), profile)
    # Disruptions that are made once come evenly over the last third of the run, each as a step of its own.
    for number, single in enumerate(profile.single):
        chosen.insert(len(chosen) * (number + 4) // (len(profile.single) + 4), (single,))
    running, steps = list(REPLICAS), []
    for each in chosen:
        steps.append(Step(0.0, tuple(_choose_targets(rng, each, running, profile))))
        if each[0].kind in MEMBERSHIP_DISRUPTIONS:
            running = [*REPLICAS] if EXTRA_REPLICA in running else [*REPLICAS, EXTRA_REPLICA]
    return _spread(rng, steps, seconds)


def _choose_repeated(rng: random.Random, number: int, profile: Profile) -> list[tuple[Disruption, ...]]:
    """Return so many disruptions, in rounds, of which a quarter overlap in pairs."""
    pairs = max(1, number // 8) if number > 1 else 0
    singles: list[Disruption] = []
    while len(singles) < number - 2 * pairs:
        singles += rng.sample(profile.repeated, len(profile.repeated))
    steps: list[tuple[Disruption, ...]] = [(each,) for each in singles[: max(number - 2 * pairs, 0)]]
    of_brokers = [each for each in profile.repeated if each.target]
    of_replicas = [Disruption(kind) for kind in REPLICA_DISRUPTIONS]
    for _ in range(pairs):
        pair = (rng.choice(of_replicas), rng.choice(of_replicas + of_brokers))
        steps.insert(rng.randint(0, len(steps)), pair)
    return steps


def _choose_targets(
    rng: random.Random, chosen: Sequence[Disruption], running: list[str], profile: Profile
) -> Iterator[Disruption]:
    """Yield disruptions with their replicas and times; the second one starts at most 2 s later."""
    victims = rng.sample(running, len(chosen))
    away_s = [rng.uniform(*profile.away_s(each.kind)) for each in chosen]
    for number, (each, victim) in enumerate(zip(chosen, victims, strict=True)):
        kind, target = each.kind, each.target or victim
        if kind in MEMBERSHIP_DISRUPTIONS:
            # The extra replica is added and removed in turn.
            kind, target = MEMBERSHIP_DISRUPTIONS[EXTRA_REPLICA in running], EXTRA_REPLICA
        elif kind in RELAY_DISRUPTIONS:
            target = RELAYED_REPLICA
        yield Disruption(kind, target, rng.uniform(0.0, 2.0) if number else 0.0, away_s[number])


def _spread(rng: random.Random, steps: list[Step], seconds: float) -> list[Step]:
    """Give each step a share of the run in proportion to its need, and start it at random in the slack."""
    needed_s = sum(step.needed_s for step in steps)
    # The last part of the run is reserved for delays.
    stretch = (seconds * 0.85 - CALM_S) / max(needed_s, 1.0)
    plan, begin_s = [], CALM_S
    for step in steps:
        slack_s = max(0.0, step.needed_s * (stretch - 1))
        plan.append(replace(step, at_s=begin_s + rng.uniform(0, slack_s)))
        begin_s += step.needed_s * stretch
    return plan


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
        # The burst is held before this part of the run.
        earliest_s = 0.3 * self.seconds
        at_s = (step.at_s - 3.0 for step in self.steps)
        return next((each for each in at_s if each >= earliest_s), earliest_s)

    @property
    def recovery_limit_s(self) -> float:
        """The longest recovery that is not too slow."""
        return 60.0 * (1 + self.busy)

    @property
    def needs_relay(self) -> bool:
        return any(each.kind in RELAY_DISRUPTIONS for step in self.steps for each in step.disruptions)

    def make_cluster(self) -> KafkaCluster:
        """Return a cluster of one combined node, or of several brokers and a separate controller."""
        if self.profile.brokers == 1:
            return KafkaCluster([COMBINED], heap_mib=256)
        return KafkaCluster([CONTROLLER, *[BROKER] * self.profile.brokers], replication=3, min_insync=2)
