"""Does a chaos run notice? Each mutation takes one guard out of the service, and its run must fail.

    python tests/chaos/mutations.py [NAME…]

Each kind of trouble is also met without a mutation, and that run must pass: else it would show nothing.
Status 1 where a mutation is not noticed, or a run without one fails.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.chaos.options import Options  # noqa: E402
from tests.chaos.plan import Disruption, Step  # noqa: E402
from tests.chaos.profiles import RELAYED, REPLICAS, DisruptionKind  # noqa: E402
from tests.chaos.report import summary  # noqa: E402
from tests.chaos.scenario import run_chaos  # noqa: E402
from tests.kafka.jars import BrokerUnavailable  # noqa: E402
from tests.kafka.nodes import KafkaCluster  # noqa: E402

PROGRAM: Final = str(Path(__file__).with_name("mutated.py"))
EVENTS, SECONDS, SEED = 10_000, 25.0, 1
# What is not there by then will not come.
SETTLE_S: Final = 25.0
NONE: Final = "none"
# That these fail says nothing of the counts.
OF_THE_RUN: Final = ("disruptions", "replicas ended")


@dataclass(frozen=True)
class Trial:
    """One short run.

    Attributes:
        mutation: What is taken out of the service; "none": nothing.
        trouble: What happens to its commits, as `mutated` has it.
        plan: What is done from outside.
    """

    mutation: str
    trouble: str = NONE
    plan: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        done = [str(each.kind) for step in self.plan for each in step.disruptions]
        return f"{self.mutation} with {', '.join([self.trouble, *done])}"

    def run(self, cluster: KafkaCluster) -> tuple[bool, str]:
        """Whether it passed, and its report."""
        options = Options(
            events=EVENTS,
            disruptions=0,
            seconds=SECONDS,
            seed=SEED,
            plan=self.plan,
            program=(PROGRAM, self.mutation, self.trouble),
            settle_s=SETTLE_S,
        )
        with tempfile.TemporaryDirectory(prefix="driftgauge-mutation-") as folder:
            report = run_chaos(cluster, Path(folder), options, lambda _: None)
        counts = [check for check in report.checks if not check.name.startswith(OF_THE_RUN)]
        passed = report.passed if self.mutation == NONE else all(check.passed for check in counts)
        return passed, summary(report)


KILL: Final = (Step(8.0, (Disruption(DisruptionKind.KILL, REPLICAS[0], 0.0, 0.0),)),)
HOLD: Final = tuple(
    Step(at_s, (Disruption(DisruptionKind.HOLD, RELAYED, 0.0, 0.0),)) for at_s in (5.0, 9.0, 13.0)
)
TRIALS: Final = (
    Trial(NONE, "stop_in_commit"),
    Trial("no_group_metadata", "stop_in_commit"),
    Trial(NONE, "abort_in_commit"),
    Trial("read_uncommitted", "abort_in_commit"),
    Trial(NONE, plan=KILL),
    Trial("restore_without_the_end", plan=KILL),
    Trial("progress_not_last"),
    Trial("progress_without_its_partial"),
    Trial(NONE, "abort_after_loss", HOLD),
    Trial("producer_not_replaced", "abort_after_loss", HOLD),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="See that chaos runs notice what is taken out.")
    parser.add_argument("names", nargs="*", help="mutations (default: all, and runs without one)")
    names = parser.parse_args().names
    trials = [trial for trial in TRIALS if not names or trial.mutation in names]
    wrong = 0
    try:
        with Options(EVENTS, 0, SECONDS, SEED).make_cluster() as cluster:
            for trial in trials:
                passed, report = trial.run(cluster)
                is_right = passed == (trial.mutation == NONE)
                wrong += not is_right
                say(f"{'ok  ' if is_right else 'WRONG'} {trial.name}: {'passed' if passed else 'failed'}")
                say(
                    "\n".join(f"    {line}" for line in report.splitlines() if shows(line, is_right=is_right))
                )
    except BrokerUnavailable as reason:
        sys.exit(str(reason))
    sys.exit(1 if wrong else 0)


def shows(line: str, *, is_right: bool) -> bool:
    """Whether a line of a report is worth showing: all where it is wrong, else by what it was noticed."""
    return not is_right or line.startswith("FAIL")


def say(text: str) -> None:
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
