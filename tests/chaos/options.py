"""The options of a chaos run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.plan import Step, make_plan
from tests.chaos.profiles import ONE_BROKER, RELAY_DISRUPTIONS, Profile
from tests.harness.nodes import BROKER, COMBINED, CONTROLLER, KafkaCluster
from tests.harness.service import DRIFTGAUGE

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
