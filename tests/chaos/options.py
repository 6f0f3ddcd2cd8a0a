"""What a chaos run is to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.plan import Step, make_plan
from tests.chaos.profiles import BY_THE_RELAY, ONE_BROKER, Profile
from tests.integration.service import DRIFTGAUGE
from tests.kafka.nodes import BROKER, COMBINED, CONTROLLER, KafkaCluster


@dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
        events: Events published, one in a thousand of them faulty.
        disruptions: Disruptions, spread over the publishing.
        seconds: How long the publishing takes.
        seed: Of events and plan.
        profile: What may be done, and with how many brokers.
        plan: What to do in place of the plan that follows from the seed.
        program: What Python runs in place of `driftgauge`.
        settle_s: How long is waited, at the most, until all is counted and shown.
    """

    events: int
    disruptions: int
    seconds: float
    seed: int
    profile: Profile = ONE_BROKER
    plan: tuple[Step, ...] | None = None
    program: Sequence[str] = DRIFTGAUGE
    settle_s: float = 120.0

    @property
    def steps(self) -> Sequence[Step]:
        if self.plan is not None:
            return self.plan
        return make_plan(self.seed, self.disruptions, self.seconds, self.profile)

    @property
    def needs_relay(self) -> bool:
        return any(each.kind in BY_THE_RELAY for step in self.steps for each in step.disruptions)

    def make_cluster(self) -> KafkaCluster:
        """One node that is all, or brokers of which any one may go without the controller going too."""
        if self.profile.brokers == 1:
            return KafkaCluster([COMBINED], heap_mib=256)
        return KafkaCluster([CONTROLLER, *[BROKER] * self.profile.brokers], replication=3, min_insync=2)
