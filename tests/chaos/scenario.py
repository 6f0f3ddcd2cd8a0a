"""A chaos run from its first event to its verdict."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from driftgauge.demo.scrape import Scrape
from tests.chaos.disruptions import RECOVERY_LIMIT_S, Disruptor, Outcome
from tests.chaos.history import check_verdicts
from tests.chaos.plan import REPLICAS, make_plan
from tests.chaos.recovery import Progress
from tests.chaos.replicas import Replicas
from tests.chaos.results import Result, final_results
from tests.chaos.setting import Setting, make_setting
from tests.chaos.truth import Counts, WindowKey, true_counts
from tests.chaos.verdict import (
    Check,
    check_counts,
    check_dead_letters,
    check_gauges,
    check_log,
    check_replay,
    check_revisions,
)
from tests.chaos.workload import LONGEST_OUTAGE_S, PARTITIONS, Publishing, Workload
from tests.integration.service import driftgauge
from tests.kafka.broker import Broker
from tests.kafka.records import read

SETTLE_S: Final = 120.0
SETTLE_EVERY_S: Final = 1.0
# So long nothing more may come once all is counted.
QUIET_S: Final = 5.0
REPLAY_S: Final = 300.0
READ_S: Final = 180.0


@dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
        events: Events published, one in a thousand of them faulty.
        disruptions: Disruptions, spread over the publishing.
        seconds: How long the publishing takes.
        seed: Of events and plan.
    """

    events: int
    disruptions: int
    seconds: float
    seed: int


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
    outcomes: list[Outcome]
    checks: list[Check]
    elapsed_s: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def recoveries_s(self) -> list[float]:
        return [outcome.recovery_s for outcome in self.outcomes if outcome.recovery_s is not None]


def run_chaos(
    broker: Broker, folder: Path, options: Options, on_outcome: Callable[[Outcome], object]
) -> Report:
    """Publish, disrupt, settle, judge; logs and files go to the folder.

    Args:
        broker: It is stopped, killed and started again, and runs at the end.
        folder: An empty one.
        options: What to do.
        on_outcome: Is told of each disruption once it has been recovered from.
    """
    started_s = time.monotonic()
    workload = Workload.make(options.seed, options.events, options.seconds)
    setting = make_setting(folder, broker.bootstrap)
    truth = true_counts(workload, setting.centroids)
    with Replicas(setting.config, folder) as replicas:
        for name in REPLICAS:
            replicas.start(name)
        replicas.wait_until_ready()
        outcomes = disrupt(broker, setting, replicas, workload, options, on_outcome)
        settle(setting, replicas, truth)
        scrapes = {name: service.scrape() for name, service in replicas.running.items()}
        for name in replicas.running:
            replicas.terminate(name)
    checks = [
        judge_disruptions(outcomes, options),
        Check("replicas ended when told to, and only then", replicas.starts, replicas.failures),
        *judge(setting, folder, workload, truth, scrapes),
    ]
    return Report(options, outcomes, checks, time.monotonic() - started_s)


def disrupt(
    broker: Broker,
    setting: Setting,
    replicas: Replicas,
    workload: Workload,
    options: Options,
    on_outcome: Callable[[Outcome], object],
) -> list[Outcome]:
    """Carry out the plan while the events are published; returns when the broker has all of them."""
    outcomes: list[Outcome] = []
    plan = make_plan(options.seed, options.disruptions, options.seconds)
    with (
        Progress(setting.bootstrap, setting.group, setting.events_topic, PARTITIONS) as progress,
        Publishing(workload, setting.bootstrap, setting.events_topic) as publishing,
    ):
        disruptor = Disruptor(broker, replicas, progress)
        started_s = publishing.wait_for_start()
        for step in plan:
            if not publishing.is_running:
                break
            for outcome in disruptor.carry_out(step, started_s):
                on_outcome(outcome)
                outcomes.append(outcome)
        publishing.wait_for_end(options.seconds + LONGEST_OUTAGE_S)
    return outcomes


def settle(setting: Setting, replicas: Replicas, truth: Mapping[WindowKey, Counts]) -> None:
    """Wait until all is counted and shown, within a bound, and then whether anything more comes."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        replicas.wait_until_ready()
        final = final_results(read_results(setting))
        scrapes = {name: service.scrape() for name, service in replicas.running.items()}
        counted = {key: result.counts for key, result in final.items()} == truth
        if counted and check_gauges(scrapes, final).passed:
            break
        time.sleep(SETTLE_EVERY_S)
    time.sleep(QUIET_S)


def judge_disruptions(outcomes: list[Outcome], options: Options) -> Check:
    check = Check("disruptions done and recovered from")
    for outcome in outcomes:
        what = f"{outcome.disruption.target} {outcome.disruption.kind} at {outcome.at_s:.0f} s"
        recovered = outcome.recovery_s is not None
        check.compare(f"{what}, recovered from within {RECOVERY_LIMIT_S:g} s", recovered, expected=True)
    check.compare("disruptions done before the events ended", len(outcomes), options.disruptions)
    return check


def judge(
    setting: Setting,
    folder: Path,
    workload: Workload,
    truth: Mapping[WindowKey, Counts],
    scrapes: Mapping[str, Scrape],
) -> list[Check]:
    """Compare what is in the topics, and what the replicas showed, with the truth and with `replay`."""
    log, paths = check_log(read(setting.bootstrap, setting.events_topic, within_s=READ_S), workload, folder)
    results = read_results(setting)
    final = final_results(results)
    letters = read(setting.bootstrap, setting.dead_letters_topic, within_s=READ_S)
    return [
        log,
        check_counts({key: result.counts for key, result in final.items()}, truth),
        check_revisions(results),
        check_verdicts(results),
        check_dead_letters(letters, workload, setting.events_topic),
        check_gauges(scrapes, final),
        check_replay(final_results(replay(setting, paths)), final),
    ]


def read_results(setting: Setting) -> list[Result]:
    messages = read(setting.bootstrap, setting.windows_topic, within_s=READ_S)
    return [Result.read(message) for message in messages]


def replay(setting: Setting, paths: list[Path]) -> list[Result]:
    done = driftgauge("replay", "--json", "--config", setting.config, *paths, timeout_s=REPLAY_S)
    assert done.returncode == 0, done.stderr
    return [Result("", orjson.loads(line)) for line in done.stdout.splitlines()]
