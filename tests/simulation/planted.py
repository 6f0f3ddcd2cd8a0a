"""`python -m tests.simulation.planted`: plant known faults again, and see how soon the simulation finds each.

Each fault runs five times, from different seeds on, for some seconds of processor time. Status 1 if one is
not found each time.
"""

import re
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Final

from tests.options import parse_options
from tests.output import say

_RUNS: Final = 5
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
        first = number * 10_000
        began_s = sum(getrusage(RUSAGE_CHILDREN)[:2])
        last, seed = _simulate(["-c", _PROGRAM, name], first, seconds)
        spent_s = sum(getrusage(RUSAGE_CHILDREN)[:2]) - began_s
        say(f"    {last[:100]}")
        # What the service does without the fault as well does not show it.
        if seed is not None and _simulate(["-m", "tests.simulation"], seed, 0)[1] is None:
            found.append((spent_s, seed - first + 1))
    return found


def _simulate(program: list[str], seed: int, seconds: float) -> tuple[str, int | None]:
    """Return the last line of a simulation up to its first finding, and the seed of that."""
    options = ["--seconds", str(seconds), "--seed", str(seed), "--first"]
    done = subprocess.run([sys.executable, *program, *options], capture_output=True, text=True, check=False)
    last = (done.stdout or done.stderr).strip().rpartition("\n")[2]
    told = re.match(r"SEED=(\d+)", last)
    return last, int(told[1]) if told else None


def main() -> None:
    options = parse_options(__doc__, only=FAULTS, seconds=120.0)
    is_found = True
    for name in options.only:
        found = find(name, options.seconds)
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
