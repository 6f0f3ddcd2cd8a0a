"""`python -m tests.simulation.planted`: plant known faults again, and see how soon the simulation finds each.

Each fault runs five times, from different seeds on. Status 1 if one is not found each time.
"""

import argparse
import re
import subprocess
import sys
from statistics import median
from time import monotonic
from typing import Final

from tests.output import say

_RUNS: Final = 5
_SEEDS_APART: Final = 10_000
_PROGRAM: Final = (
    "import sys; from tests.mutants.planted import plant; plant(sys.argv.pop(1)); "
    "from tests.simulation.__main__ import main; main()"
)
# Those that users would have met.
FAULTS: Final = (
    "texts_end_alarms",
    "inconclusive_ends_alarms",
    "switch_forgets_histories",
    "beheaded_changelog_restored",
    "purged_panes_forgotten",
    "most_by_each_replica",
    "epochs_forgotten",
    "rounds_unbounded",
    "paused_shard_kept",
)


def find(name: str, seconds: float) -> list[tuple[float, int]]:
    """Return for how many seconds, and plans, the simulation looked for a fault in each run that found it."""
    found = []
    for number in range(_RUNS):
        seed = number * _SEEDS_APART
        options = ["--seconds", str(seconds), "--seed", str(seed), "--first"]
        began_s = monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, name, *options], capture_output=True, text=True, check=False
        )
        last = (done.stdout or done.stderr).strip().rpartition("\n")[2]
        if told := re.match(r"SEED=(\d+)", last):
            found.append((monotonic() - began_s, int(told[1]) - seed + 1))
        say(f"    {last[:100]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="faults (default: all)")
    parser.add_argument("--seconds", type=float, default=120)
    asked = parser.parse_args()
    is_found = True
    for name in asked.names or FAULTS:
        found = find(name, asked.seconds)
        # A run that finds nothing counts as longer than all others.
        halves = [
            median([*each, *[float("inf")] * (_RUNS - len(found))])
            for each in (zip(*found, strict=True) if found else ([], []))
        ]
        say(f"{name}: {len(found)} of {_RUNS} runs, median {halves[0]:.0f} s and {halves[1]:.0f} plans")
        is_found &= len(found) == _RUNS
    sys.exit(not is_found)


if __name__ == "__main__":
    main()
