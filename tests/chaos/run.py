"""Chaos run: disrupts replicas and brokers while events flow, then verifies exactly-once counting.

    python -m tests.chaos.run --events 1000000 --disruptions 50 --brokers 3

It prints each disruption with its recovery time, then the checks. Status 1: a check or a replica failed;
2: the machine or the run itself failed, and no check did. The seed determines the events and the plan, but
not the timing on the machine.
"""

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.chaos.plan import ONE_BROKER, THREE_BROKERS, Options
from tests.chaos.report import Finding, Status, heading, line, summary
from tests.chaos.scenario import run_chaos
from tests.harness.jars import BrokerUnavailable
from tests.output import say

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


PROFILES = {profile.brokers: profile for profile in (ONE_BROKER, THREE_BROKERS)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Disrupt replicas and brokers, then check all counts.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--disruptions", type=int, default=50)
    parser.add_argument("--minutes", type=float, help="how long events are published (default: 25, or 40)")
    parser.add_argument("--seed", type=int, default=None, help="of events and plan (default: random)")
    parser.add_argument("--brokers", type=int, choices=tuple(PROFILES), default=1)
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside the run (default: none)")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    minutes = given.minutes or (25.0 if given.brokers == 1 else 40.0)
    profile = PROFILES[given.brokers]
    options = Options(given.events, given.disruptions, minutes * 60, seed, profile, busy=given.busy)

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
    except BrokerUnavailable as reason:
        shutil.rmtree(folder)
        say(str(reason))
        sys.exit(Status.MACHINE)
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
