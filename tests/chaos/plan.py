"""The plan of a chaos run: which disruptions, when and of which targets; it is determined by the seed."""

import random
from dataclasses import dataclass, replace
from typing import Final

from tests.chaos.profiles import (
    EXTRA_REPLICA,
    ONE_BROKER,
    RELAY_DISRUPTIONS,
    RELAYED_REPLICA,
    REPLICA_DISRUPTIONS,
    REPLICAS,
    Choice,
    DisruptionKind,
    Profile,
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
    steps = _insert_single_choices(_repeated_choices(rng, disruptions, profile), profile)
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


def _insert_single_choices(steps: list[tuple[Choice, ...]], profile: Profile) -> list[tuple[Choice, ...]]:
    """Insert the choices made once, evenly over the last third of the run, each as a step of its own."""
    for number, choice in enumerate(profile.single):
        steps.insert(len(steps) * (number + 4) // (len(profile.single) + 4), (choice,))
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
