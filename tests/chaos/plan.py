"""What is done to the service and its broker, and when: all of it follows from the seed."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
EXTRA: Final = "replica-4"
SESSION_TIMEOUT_S: Final = 3.0

# The run begins calmly. A last part of it is for what has taken longer: recovering needs events, too.
CALM_S: Final = 10.0
RESERVE: Final = 0.15
# How far apart two disruptions that overlap begin, at the most.
OVERLAP_S: Final = 2.0
# How long something is gone before it is replaced or started again, at the most.
GONE_S: Final = 2.0
# A replica is stopped past its session, and now and then past its transaction's 10 s as well.
PAUSE_S: Final = (SESSION_TIMEOUT_S + 1.0, SESSION_TIMEOUT_S + 11.0)
SINGLES_PER_PAIR: Final = 6


class Kind(StrEnum):
    """The kinds of disruption."""

    KILL = "kill -9, replaced"
    PAUSE = "SIGSTOP, SIGCONT"
    TERMINATE = "SIGTERM, replaced"
    ADD = "added"
    REMOVE = "removed"
    BROKER_RESTART = "restarted"
    BROKER_KILL = "kill -9, restarted"


TO_THE_BROKER: Final = (Kind.BROKER_RESTART, Kind.BROKER_KILL)
TO_A_REPLICA: Final = (Kind.KILL, Kind.PAUSE, Kind.TERMINATE)


@dataclass(frozen=True)
class Disruption:
    """One thing done.

    Attributes:
        kind: What.
        target: A replica's name, or "broker".
        after_s: Time from the beginning of its step.
        away_s: How long the target is stopped, or gone before it is replaced or started again.
    """

    kind: Kind
    target: str
    after_s: float
    away_s: float


@dataclass(frozen=True)
class Step:
    """What is done at about the same time: one disruption, or two that overlap.

    Attributes:
        at_s: Time from the first event; later where the step before has not been recovered from.
        disruptions: What is done.
    """

    at_s: float
    disruptions: tuple[Disruption, ...]


def make_plan(seed: int, disruptions: int, seconds: float) -> list[Step]:
    """Spread so many disruptions over the time; from nine on, every kind is among them, and a pair."""
    rng = random.Random(seed)
    pairs = max(1, disruptions // (SINGLES_PER_PAIR + 2)) if disruptions > 1 else 0
    singles: list[Kind] = []
    while len(singles) < disruptions - 2 * pairs:
        singles += _one_of_each(rng)
    steps: list[tuple[Kind, ...]] = [(kind,) for kind in singles[: disruptions - 2 * pairs]]
    for _ in range(pairs):
        pair = (rng.choice(TO_A_REPLICA), rng.choice(TO_A_REPLICA + TO_THE_BROKER))
        steps.insert(rng.randint(0, len(steps)), pair)

    slot_s = (seconds * (1 - RESERVE) - CALM_S) / max(1, len(steps))
    running = list(REPLICAS)
    plan = []
    for number, kinds in enumerate(steps):
        done = _choose_targets(rng, kinds, running)
        # Half a slot is left to recover in.
        plan.append(Step(CALM_S + slot_s * (number + rng.uniform(0, 0.5)), done))
        running += [each.target for each in done if each.kind is Kind.ADD]
        running = [name for name in running if (Kind.REMOVE, name) not in {(d.kind, d.target) for d in done}]
    return plan


def _one_of_each(rng: random.Random) -> list[Kind]:
    kinds = rng.sample(list(Kind), len(Kind))
    added, removed = kinds.index(Kind.ADD), kinds.index(Kind.REMOVE)
    if removed < added:
        kinds[added], kinds[removed] = Kind.REMOVE, Kind.ADD
    return kinds


def _choose_targets(
    rng: random.Random, kinds: tuple[Kind, ...], running: list[str]
) -> tuple[Disruption, ...]:
    victims = rng.sample(running, len(kinds))
    done = []
    for kind, victim in zip(kinds, victims, strict=True):
        away_s = rng.uniform(0.0, GONE_S)
        match kind:
            case Kind.ADD | Kind.REMOVE:
                target = EXTRA
            case Kind.BROKER_RESTART | Kind.BROKER_KILL:
                target = "broker"
            case Kind.PAUSE:
                target, away_s = victim, rng.uniform(*PAUSE_S)
            case _:
                target = victim
        done.append(Disruption(kind, target, 0.0, away_s))
    first, *others = done
    return first, *(replace(other, after_s=rng.uniform(0.0, OVERLAP_S)) for other in others)
