"""Mutation tests of the chaos run: each removes a guard or breaks a rule of the service; its run must fail.

    python -m tests.chaos.mutations [NAME…]

Each injected failure also gets a run without a mutation, whose counts must be exact. Status 1 if a mutation
is not detected, or if a run without one is not exact.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.chaos.plan import (
    EXTRA_REPLICA,
    RELAYED_REPLICA,
    REPLICAS,
    Disruption,
    DisruptionKind,
    Options,
    Step,
)
from tests.chaos.report import Finding, Report, summary
from tests.chaos.run import run_chaos
from tests.harness.broker import KafkaCluster
from tests.harness.jars import BrokerUnavailable
from tests.output import say

PROGRAM: Final = str(Path(__file__).with_name("mutant.py"))
# A mutant may never reach the expected counts, so the wait is short.
OPTIONS: Final = Options(events=10_000, disruptions=0, seconds=25.0, seed=1, settle_s=25.0)
NONE: Final = "none"


@dataclass(frozen=True)
class Trial:
    """One short run.

    Attributes:
        mutation: The mutation; "none": without one.
        failure: The failure injected into commits; see `mutant`.
        plan: The disruptions.
    """

    mutation: str
    failure: str = NONE
    plan: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        done = [str(each.kind) for step in self.plan for each in step.disruptions]
        return f"{self.mutation} with {', '.join([self.failure, *done])}"

    def run(self, cluster: KafkaCluster) -> Report:
        """Return the report of the run."""
        program = PROGRAM, self.mutation, self.failure
        options = replace(OPTIONS, plan=self.plan, program=program)
        with tempfile.TemporaryDirectory(prefix="driftgauge-mutation-") as folder:
            return run_chaos(cluster, Path(folder), options, lambda _: None)


KILL: Final = (Step(8.0, (Disruption(DisruptionKind.KILL, REPLICAS[0]),)),)
HOLD: Final = tuple(
    Step(at_s, (Disruption(DisruptionKind.HOLD, RELAYED_REPLICA),)) for at_s in (5.0, 9.0, 13.0)
)
ADD: Final = (Step(8.0, (Disruption(DisruptionKind.ADD, EXTRA_REPLICA),)),)
TRIALS: Final = (
    # Exactly once, and fencing.
    Trial(NONE, "stop_in_commit"),
    Trial("no_group_metadata", "stop_in_commit"),
    Trial(NONE, "rejoin_in_commit"),
    Trial("member_not_checked", "rejoin_in_commit"),
    Trial(NONE, "abort_in_commit"),
    Trial("read_uncommitted", "abort_in_commit"),
    Trial("offsets_outside_transaction", "abort_in_commit"),
    Trial("positions_kept", "abort_in_commit"),
    Trial(NONE, "abort_at_begin"),
    Trial("counts_kept", "abort_at_begin"),
    Trial(NONE, "lose_producer_in_commit"),
    Trial("drop_while_settling", "lose_producer_in_commit"),
    Trial(NONE, "abort_after_loss", HOLD),
    Trial("producer_not_replaced", "abort_after_loss", HOLD),
    # Restore.
    Trial(NONE, plan=KILL),
    Trial("restore_before_end", plan=KILL),
    Trial("epoch_repeated", plan=KILL),
    Trial(NONE, "interleave_parts"),
    Trial("waiting_parts_passed", "interleave_parts"),
    Trial(NONE, "abort_in_windows_commit"),
    Trial("changelog_uncommitted", "abort_in_windows_commit"),
    # Hand-over.
    Trial(NONE, plan=ADD),
    Trial("revoked_partitions_kept", plan=ADD),
    Trial("revoked_shards_kept", plan=ADD),
    # Commits, routing and event time.
    Trial(NONE),
    Trial("progress_not_last"),
    Trial("progress_without_partials"),
    Trial("any_shard"),
    Trial("waiting_windows_final"),
    Trial("producers_times_trusted"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Test that a chaos run detects each mutation.")
    parser.add_argument("names", nargs="*", help="mutations (default: all)")
    names = parser.parse_args().names
    chosen = [trial for trial in TRIALS if not names or trial.mutation in names]
    controls = [replace(trial, mutation=NONE) for trial in chosen]
    trials = [trial for trial in TRIALS if trial in chosen or trial in controls]
    unexpected = 0
    try:
        with OPTIONS.make_cluster() as cluster:
            for trial in trials:
                report = trial.run(cluster)
                is_right = report.finding is (Finding.EXACT if trial.mutation == NONE else Finding.WRONG)
                unexpected += not is_right
                say(f"{'ok  ' if is_right else 'WRONG'} {trial.name}: counts {report.finding}")
                # All lines if unexpected, else those of failed checks.
                lines = summary(report).splitlines()
                for line in lines if not is_right else [each for each in lines if each.startswith("FAIL")]:
                    say(f"    {line}")
    except BrokerUnavailable as reason:
        sys.exit(str(reason))
    sys.exit(1 if unexpected else 0)


if __name__ == "__main__":
    main()
