"""What is done to the service and its brokers, and when: all of it follows from the seed."""

import random
from dataclasses import dataclass, replace
from typing import Final

from tests.chaos.profiles import (
    EXTRA,
    ONE_BROKER,
    RELAYED,
    REPLICAS,
    TO_A_REPLICA,
    Choice,
    DisruptionKind,
    Profile,
)

# The run begins calmly. A last part of it is for what has taken longer: recovering needs events, too.
CALM_S: Final = 6.0
RESERVE: Final = 0.15
# What a disruption takes besides the time that something is away.
RECOVERY_S: Final = 5.0
# How far apart two disruptions that overlap begin, at the most.
OVERLAP_S: Final = 2.0
SINGLES_PER_PAIR: Final = 6


@dataclass(frozen=True)
class Disruption:
    """One thing done.

    Attributes:
        kind: What.
        target: A replica's name, or a broker's role.
        after_s: Time from the beginning of its step.
        away_s: How long the target is stopped, or gone before it is replaced or started again.
    """

    kind: DisruptionKind
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

    @property
    def takes_s(self) -> float:
        return RECOVERY_S + max(each.after_s + each.away_s for each in self.disruptions)


def make_plan(seed: int, disruptions: int, seconds: float, profile: Profile = ONE_BROKER) -> list[Step]:
    """Spread so many disruptions over the time; where they suffice every kind is among them, and a pair."""
    rng = random.Random(seed)
    steps = _place_what_is_done_once(_often(rng, disruptions, profile), profile)
    running = list(REPLICAS)
    done = []
    for choices in steps:
        each = _choose_targets(rng, choices, running, profile)
        running += [one.target for one in each if one.kind is DisruptionKind.ADD]
        running = [
            name
            for name in running
            if (DisruptionKind.REMOVE, name) not in {(d.kind, d.target) for d in each}
        ]
        done.append(Step(0.0, each))
    return _spread(rng, done, seconds)


def _often(rng: random.Random, disruptions: int, profile: Profile) -> list[tuple[Choice, ...]]:
    number = max(0, disruptions - len(profile.once))
    pairs = max(1, number // (SINGLES_PER_PAIR + 2)) if number > 1 else 0
    singles: list[Choice] = []
    while len(singles) < number - 2 * pairs:
        singles += _one_of_each(rng, profile)
    steps: list[tuple[Choice, ...]] = [(choice,) for choice in singles[: number - 2 * pairs]]
    to_brokers = [choice for choice in profile.often if choice.role is not None]
    to_replicas = [Choice(kind) for kind in TO_A_REPLICA]
    for _ in range(pairs):
        pair = (rng.choice(to_replicas), rng.choice(to_replicas + to_brokers))
        steps.insert(rng.randint(0, len(steps)), pair)
    return steps


def _place_what_is_done_once(steps: list[tuple[Choice, ...]], profile: Profile) -> list[tuple[Choice, ...]]:
    """Late in the run, evenly over its last third: nothing else goes on beside them then."""
    for number, choice in enumerate(profile.once):
        steps.insert(len(steps) * (number + 4) // (len(profile.once) + 4), (choice,))
    return steps


def _one_of_each(rng: random.Random, profile: Profile) -> list[Choice]:
    choices = rng.sample(profile.often, len(profile.often))
    added, removed = choices.index(Choice(DisruptionKind.ADD)), choices.index(Choice(DisruptionKind.REMOVE))
    if removed < added:
        choices[added], choices[removed] = choices[removed], choices[added]
    return choices


def _choose_targets(
    rng: random.Random, choices: tuple[Choice, ...], running: list[str], profile: Profile
) -> tuple[Disruption, ...]:
    victims = rng.sample(running, len(choices))
    done = []
    for choice, victim in zip(choices, victims, strict=True):
        match choice.kind:
            case DisruptionKind.ADD | DisruptionKind.REMOVE:
                target = EXTRA
            case DisruptionKind.CUT | DisruptionKind.HOLD:
                target = RELAYED
            case _:
                target = victim if choice.role is None else choice.role.value
        done.append(Disruption(choice.kind, target, 0.0, rng.uniform(*profile.away_s(choice.kind))))
    first, *others = done
    return first, *(replace(other, after_s=rng.uniform(0.0, OVERLAP_S)) for other in others)


def _spread(rng: random.Random, steps: list[Step], seconds: float) -> list[Step]:
    """Give each step a part of the time by what it takes, and begin it somewhere in what is left of that."""
    needed_s = sum(step.takes_s for step in steps)
    stretch = (seconds * (1 - RESERVE) - CALM_S) / max(needed_s, 1.0)
    plan, begin_s = [], CALM_S
    for step in steps:
        slack_s = max(0.0, step.takes_s * (stretch - 1))
        plan.append(replace(step, at_s=begin_s + rng.uniform(0, slack_s)))
        begin_s += step.takes_s * stretch
    return plan
