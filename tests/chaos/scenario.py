"""A chaos run from its first event to its verdict."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.brokers import Brokers
from tests.chaos.chain import check_chain_counters
from tests.chaos.churn import Churn
from tests.chaos.disruptions import RECOVERY_LIMIT_S, DisruptionOutcome, Disruptor
from tests.chaos.gauges import check_gauges
from tests.chaos.judgement import judge, read_results
from tests.chaos.lateness import check_counts, check_late, late_totals
from tests.chaos.options import Options
from tests.chaos.profiles import RELAYED, REPLICAS
from tests.chaos.publishing import LONGEST_OUTAGE_S, Publishing
from tests.chaos.recovery import CountingProgress
from tests.chaos.replicas import Replicas
from tests.chaos.results import final_results
from tests.chaos.setting import SHARDS, ChaosSetting, make_setting
from tests.chaos.truth import Truth
from tests.chaos.unclean import LossyTopic, check_unclean_election
from tests.chaos.verdict import Check
from tests.chaos.witness import Witness
from tests.chaos.workload import LOSSY, PARTITIONS, Recipe, Workload
from tests.kafka.nodes import KafkaCluster
from tests.kafka.relay import Relay

SETTLE_EVERY_S: Final = 1.0
# So long nothing more may come once all is counted.
QUIET_S: Final = 5.0
# A slow machine may be late with the last disruptions, which then meet no new events.
MOST_IN_TIME: Final = 0.75
# What there is to do before the first event may be sent, at the least.
LEAD_MS: Final = 5_000


@dataclass(frozen=True)
class Report:
    """What a run brought.

    Attributes:
        options: What was asked for.
        outcomes: What was done, in order.
        checks: What was checked.
        elapsed_s: How long all of it took.
    """

    options: Options
    outcomes: list[DisruptionOutcome]
    checks: list[Check]
    elapsed_s: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def recoveries_s(self) -> list[float]:
        return [outcome.recovery_s for outcome in self.outcomes if outcome.recovery_s is not None]


def run_chaos(
    cluster: KafkaCluster, folder: Path, options: Options, on_outcome: Callable[[DisruptionOutcome], object]
) -> Report:
    """Publish, disrupt, settle, judge; logs and files go to the folder.

    Args:
        cluster: Its nodes are stopped, killed and started again, and run at the end.
        folder: An empty one.
        options: What to do.
        on_outcome: Is told of each disruption once it has been recovered from.
    """
    started_s = time.monotonic()
    lossy = LossyTopic.make(cluster) if options.profile.brokers > 1 else None
    further = {} if lossy is None else {LOSSY: lossy.name}
    setting = make_setting(folder, cluster.bootstrap, options.profile, further)
    checks: list[Check] = []
    with ExitStack() as running:
        relay = running.enter_context(Relay(cluster.bootstrap)) if options.needs_relay else None
        through = {} if relay is None else {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        replicas = running.enter_context(
            Replicas(setting.config, folder, {RELAYED: through}, options.program)
        )
        witness = running.enter_context(
            Witness(setting.bootstrap, (setting.windows_topic, setting.partials_topic))
        )
        for name in REPLICAS:
            replicas.start(name)
        replicas.wait_until_ready()
        live_from_ms = int(time.time() * 1_000) + LEAD_MS
        workload = Workload.make(Recipe(options.seed, options.events, options.seconds, live_from_ms))
        truth = Truth.of(workload, setting.centroids)
        outcomes, done = _disrupt(cluster, setting, replicas, workload, options, relay, on_outcome)
        _settle(setting, replicas, truth, options.settle_s)
        scrapes = replicas.scrapes()
        if lossy is not None:
            checks.append(check_unclean_election(lossy, setting, replicas))
        for name in replicas.running:
            replicas.terminate(name)
        time.sleep(QUIET_S)
    ended = Check("replicas ended when told to, and only then", replicas.starts, replicas.failures)
    checks = [done, ended, *judge(setting, folder, workload, truth, scrapes, witness), *checks]
    return Report(options, outcomes, checks, time.monotonic() - started_s)


def _disrupt(
    cluster: KafkaCluster,
    setting: ChaosSetting,
    replicas: Replicas,
    workload: Workload,
    options: Options,
    relay: Relay | None,
    on_outcome: Callable[[DisruptionOutcome], object],
) -> tuple[list[DisruptionOutcome], Check]:
    """Carry out the plan while the events are published; returns when the brokers have all of them."""
    outcomes: list[DisruptionOutcome] = []
    brokers = Brokers(cluster, setting.by_role, setting.group)
    with (
        CountingProgress(setting.bootstrap, setting.group, setting.events_topic, PARTITIONS) as progress,
        Publishing(workload, setting.bootstrap, setting.events_topic) as publishing,
    ):
        disruptor = Disruptor(brokers, replicas, progress, publishing, relay)
        started_s = publishing.wait_for_start()
        with Churn(replicas, options.seconds) as churn:
            for step in options.steps:
                for outcome in disruptor.carry_out(step, started_s):
                    on_outcome(outcome)
                    outcomes.append(outcome)
            publishing.wait_for_end(options.seconds + LONGEST_OUTAGE_S)
    return outcomes, _check_disruptions(outcomes, options, disruptor.failures, churn)


def _check_disruptions(
    outcomes: list[DisruptionOutcome], options: Options, failures: list[str], churn: Churn
) -> Check:
    check = Check("disruptions done and recovered from", mismatches=list(failures))
    for outcome in outcomes:
        what = f"{outcome.disruption.target} {outcome.disruption.kind} at {outcome.at_s:.0f} s"
        recovered = outcome.recovery_s is not None
        check.compare(f"{what}, recovered from within {RECOVERY_LIMIT_S:g} s", recovered, expected=True)
    in_time = sum(outcome.at_s < options.seconds for outcome in outcomes)
    is_most = in_time >= MOST_IN_TIME * len(outcomes)
    check.compare(f"most of {len(outcomes)} disruptions begun while events come", is_most, expected=True)
    check.compare("rebalances at an even pace", churn.rebalances >= churn.least, expected=True)
    return check


def _settle(setting: ChaosSetting, replicas: Replicas, truth: Truth, within_s: float) -> None:
    """Wait until all is counted and shown, within a bound, and then whether anything more comes."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        replicas.wait_until_ready()
        final = final_results(read_results(setting))
        counts = {key: result.counts for key, result in final.items()}
        scrapes = replicas.scrapes()
        checks = (
            check_counts(counts, truth),
            check_late(counts, late_totals(scrapes.values()), truth),
            check_gauges(scrapes, final),
            # A replica that lost a shard may show it until it knows.
            check_chain_counters(scrapes, SHARDS),
        )
        if all(check.passed for check in checks):
            break
        time.sleep(SETTLE_EVERY_S)
    time.sleep(QUIET_S)
