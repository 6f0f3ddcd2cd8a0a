"""Chaos run: disrupts replicas and brokers while events flow, then verifies exactly-once counting.

    python -m tests.chaos.run --events 1000000 --disruptions 50 --brokers 3

It prints each disruption with its recovery time, then the checks. Status 1: a check or a replica failed;
2: the machine or the run itself failed, and no check did. The seed determines the events and the plan, but
not the timing on the machine. Without `--minutes` events are published for 25 minutes, to three brokers for
40. `--busy` sets the number of busy loops beside the run.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import orjson

from driftgauge.records.partials import decode_part
from tests.chaos.brokers import UNCLEAN, BrokerLocator, UncleanTopic, check_unclean_election
from tests.chaos.checks import (
    Check,
    check_burst,
    check_counts,
    check_dead_letters,
    check_divergences,
    check_gauges,
    check_late,
    check_log,
    check_nothing_closed_early,
    check_numbers,
    check_replay,
    check_revisions,
    check_unmarked,
    late_totals,
)
from tests.chaos.committed_reader import CommittedReader, check_reads
from tests.chaos.disruptions import DisruptionOutcome, DisruptionRunner, ProgressSampler
from tests.chaos.environment import SHARDS, Environment
from tests.chaos.history_checks import (
    ProgressChain,
    check_chain_counters,
    check_partials,
    check_verdicts,
    level_of,
)
from tests.chaos.plan import ONE_BROKER, RELAYED_REPLICA, REPLICAS, THREE_BROKERS, Options
from tests.chaos.replicas import Replicas
from tests.chaos.report import Finding, Report, Status, heading, line, summary
from tests.chaos.windows import (
    Counts,
    ExpectedCounts,
    PublishedRevision,
    WindowKey,
    final_results,
    read_results,
)
from tests.chaos.workload import (
    BURST,
    LIVE,
    LONGEST_OUTAGE_S,
    LOSSY,
    PARTITIONS,
    STREAMS,
    PublisherProcess,
    Workload,
    WorkloadSpec,
)
from tests.harness.broker import KafkaCluster
from tests.harness.closing import take_left_behind
from tests.harness.relay import Relay
from tests.harness.scrape import Scrape
from tests.harness.service import driftgauge
from tests.options import parse_options
from tests.output import say
from tests.waiting import PATIENCE_S

# Nothing more may be published for this long after all events are counted.
QUIET_S: Final = 5.0


def run_chaos(
    cluster: KafkaCluster, folder: Path, options: Options, on_outcome: Callable[[DisruptionOutcome], object]
) -> Report:
    """Start the service, publish, disrupt, wait and check; logs and files go to the folder.

    Args:
        cluster: A running cluster, whose nodes are stopped, killed and restarted.
        folder: An empty folder.
        options: The options.
        on_outcome: Called with each disruption after the recovery.
    """
    started_s = time.monotonic()
    report = Report(options)
    with report.attempt("the run"):
        _run(cluster, folder, report, on_outcome)
    report.problems += take_left_behind()
    report.elapsed_s = time.monotonic() - started_s
    return report


def _run(
    cluster: KafkaCluster, folder: Path, report: Report, on_outcome: Callable[[DisruptionOutcome], object]
) -> None:
    options = report.options
    lossy = UncleanTopic(cluster) if options.profile.brokers > 1 else None
    env = Environment(folder, cluster.bootstrap, options.profile, {LOSSY: UNCLEAN} if lossy else {})
    with ExitStack() as running:
        relay = running.enter_context(Relay(cluster.bootstrap)) if options.needs_relay else None
        through = {} if relay is None else {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        replicas = running.enter_context(
            Replicas(env.config, folder, {RELAYED_REPLICA: through}, options.program)
        )
        report.failures, report.dead_clients = replicas.failures, replicas.dead_clients
        reader = running.enter_context(
            CommittedReader(env.bootstrap, (env.windows_topic, env.partials_topic))
        )
        for name in REPLICAS:
            replicas.start(name)
        replicas.wait_until_ready()
        # Time for generating the workload before the first event.
        live_from_ms = int(time.time() * 1_000) + 5_000
        workload = Workload.make(
            WorkloadSpec(options.seed, options.events, options.seconds, live_from_ms, options.released_s)
        )
        expected = ExpectedCounts.of(workload, env.centroids)
        _disrupt(cluster, env, replicas, workload, report, relay, on_outcome)
        with report.attempt("settling"):
            _settle(env, replicas, expected, options.settle_s)
        scrapes = replicas.scrapes()
        if lossy is not None:
            with report.attempt("the unclean election"):
                report.checks.append(check_unclean_election(lossy, env, replicas))
        with report.attempt("stopping the replicas"):
            for name in replicas.running:
                replicas.terminate(name)
        time.sleep(QUIET_S)
    checks = _check(env, folder, workload, expected, scrapes, reader)
    log = next(checks)
    if not log.passed:
        # An idempotent producer may write a record twice once its epoch was raised after an error.
        report.problems.append(f"{log.name}: {len(log.mismatches):,} wrong, so the counts are not checked")
        return
    report.is_checked = lossy is None or bool(report.checks)
    report.checks += [log, *checks]


def _disrupt(
    cluster: KafkaCluster,
    env: Environment,
    replicas: Replicas,
    workload: Workload,
    report: Report,
    relay: Relay | None,
    on_outcome: Callable[[DisruptionOutcome], object],
) -> None:
    """Carry out the plan while the events are published; return when all events are acknowledged."""
    options = report.options
    brokers = BrokerLocator(cluster, env)
    with (
        ProgressSampler(env.bootstrap, env.name, env.events_topic, PARTITIONS) as progress,
        PublisherProcess(workload, env.bootstrap, env.events_topic) as publishing,
    ):
        disruptor = DisruptionRunner(brokers, replicas, progress, publishing, relay, options.recovery_limit_s)
        started_s = publishing.wait_for_answer(PATIENCE_S)
        with report.attempt("a disruption"):
            for step in options.steps:
                for outcome in disruptor.run_step(step, started_s):
                    on_outcome(outcome)
                    report.outcomes.append(outcome)
        # A disruption that failed may have left something down, and all events must arrive.
        for node in cluster.nodes.values():
            if not node.running:
                node.start()
        if relay is not None:
            relay.reconnect()
        undelivered = publishing.wait_for_answer(options.seconds + LONGEST_OUTAGE_S)
        assert not undelivered, undelivered
    report.problems += disruptor.failures
    report.problems += _find_shortfalls(report)


def _find_shortfalls(report: Report) -> Iterator[str]:
    """Yield what was slower, or less, than the run requires."""
    options = report.options
    for outcome in report.outcomes:
        if outcome.recovery_s is None:
            what = f"{outcome.disruption.target} {outcome.disruption.kind} at {outcome.at_s:.0f} s"
            yield f"too slow: {what}, not recovered from within {options.recovery_limit_s:g} s"
    in_time = sum(outcome.at_s < options.seconds for outcome in report.outcomes)
    # A slow machine delays the last disruptions.
    if in_time < len(report.outcomes) / 2:
        yield f"too slow: {in_time} of {len(report.outcomes)} disruptions while events arrived"


def _settle(env: Environment, replicas: Replicas, expected: ExpectedCounts, within_s: float) -> None:
    """Wait until all events are counted and shown, or nothing changes, and then for the quiet period."""
    deadline = time.monotonic() + within_s
    known: dict[WindowKey, Counts] = {}
    while time.monotonic() < deadline:
        replicas.wait_until_ready()
        final = final_results(read_results(env.read(env.windows_topic)))
        counts = {key: result.counts for key, result in final.items()}
        if counts != known:
            known, deadline = counts, time.monotonic() + within_s
        scrapes = replicas.scrapes()
        checks = (
            check_counts(counts, expected),
            check_late(counts, late_totals(scrapes.values()), expected),
            check_gauges(scrapes, final),
            # A replica may show a lost shard until it learns of the loss.
            check_chain_counters(scrapes, SHARDS),
        )
        if all(check.passed for check in checks):
            break
        time.sleep(1)
    time.sleep(QUIET_S)


def _check(
    env: Environment,
    folder: Path,
    workload: Workload,
    expected: ExpectedCounts,
    scrapes: Mapping[str, Scrape],
    reader: CommittedReader,
) -> Iterator[Check]:
    """Yield each check of topics and metrics against the expected counts and `driftgauge replay`."""
    log, paths = check_log(env.read(env.events_topic), workload, folder)
    yield log
    written = env.read(env.windows_topic)
    results = read_results(written)
    final = final_results(results)
    counts = {key: result.counts for key, result in final.items()}
    yield check_counts(counts, expected)
    yield check_late(counts, late_totals(scrapes.values()), expected)
    yield check_revisions(results)
    yield check_unmarked(results)
    yield check_divergences(results, env.baseline_counts)
    yield check_numbers(results, env.centroids)
    yield check_verdicts(results, level_of(env.centroids))
    yield check_nothing_closed_early(results, STREAMS[LIVE])
    spec = workload.spec
    yield check_burst(results, STREAMS[BURST], spec.live_from_ms + spec.released_s * 1_000)
    yield check_dead_letters(env.read(env.dead_letters_topic), workload, env.events_topic)
    yield check_gauges(scrapes, final)
    parts = env.read(env.partials_topic)
    chain = ProgressChain(env.events_topic)
    for part in parts:
        chain.take(part.partition() or 0, part.offset() or 0, decode_part(part.value() or b""))
    yield chain.finish(workload.ends, SHARDS)
    yield check_partials(chain.counts(), expected.all)
    yield check_chain_counters(scrapes, SHARDS)
    yield check_reads(reader.seen, reader.problems, [*written, *parts])
    replay = driftgauge("replay", "--json", "--config", env.config, *paths)
    if replay.returncode:
        yield Check("replay of the same events ends well", mismatches=[replay.stderr])
    else:
        replayed = [PublishedRevision("", orjson.loads(line)) for line in replay.stdout.splitlines()]
        yield check_replay(final_results(replayed), final, expected.on_time)


# It ends with its parent, which may be killed.
LOOP: Final = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Run this many busy loops while the context is open."""
    command = [sys.executable, "-c", LOOP, str(os.getpid())]
    loops = [subprocess.Popen(command, start_new_session=True) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    given = parse_options(
        __doc__,
        events=1_000_000,
        disruptions=50,
        minutes=0.0,
        seed=secrets.randbelow(1_000_000),
        brokers=1,
        busy=0,
    )
    profile, minutes = (ONE_BROKER, 25.0) if given.brokers == 1 else (THREE_BROKERS, 40.0)
    options = Options(
        given.events,
        given.disruptions,
        (given.minutes or minutes) * 60,
        given.seed,
        profile,
        busy=given.busy,
    )
    folder = Path(tempfile.mkdtemp(prefix="driftgauge-chaos-"))
    say(f"logs and files, removed if the run passes: {folder}")
    say(heading(options))
    try:
        with busy_loops(options.busy), options.make_cluster() as cluster:
            try:
                report = run_chaos(cluster, folder, options, on_outcome=lambda outcome: say(line(outcome)))
            finally:
                for number, node in cluster.nodes.items():
                    (folder / f"broker-{number}.log").write_text(node.log_tail(lines=100_000))
    except Exception:  # noqa: BLE001 - status 1 would say that a check failed
        traceback.print_exc()
        say(f"FAILED; counts: {Finding.UNCHECKED}; machine: see above")
        sys.exit(Status.MACHINE)
    say(summary(report))
    if report.status is Status.PASSED:
        shutil.rmtree(folder)
    sys.exit(report.status)


if __name__ == "__main__":
    main()
