"""`python -m tests.simulation.planted`: plant known faults again, and see how soon the simulation finds each.

    python -m tests.simulation.planted [--seconds 120] [NAME…]

Each fault runs five times, from different seeds on, in a copy of the service. Status 1 if one is not found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import monotonic

from tests.output import say

SERVICE = Path(__file__).parents[2] / "service"
_RUNS = 5
_SEEDS_APART = 10_000
_WINDOWS = "core/windows/"
Change = tuple[str, str, str]
"""A module below `driftgauge`, a part of its text that occurs once, and what replaces it."""

FAULTS: Mapping[str, tuple[Change, ...]] = {
    "texts: no alarm of a stream whose texts are kept": (
        (
            _WINDOWS + "stream_state.py",
            "self._set_result(replace(result, snippets={}) if result.snippets else result)",
            "(self.published.update({result.window: replace(result, snippets={})}) if result.snippets"
            " else self._set_result(result))",
        ),
    ),
    "newest: the alarm follows the newest window, conclusive or not": (
        (
            _WINDOWS + "stream_state.py",
            "result = self.conclusive.get(size_ms)",
            "result = self.newest.get(size_ms)",
        ),
    ),
    "warm_up: a switch discards what is known about the former baseline": (
        (
            _WINDOWS + "stream_state.py",
            "        self.histories[size_ms, baseline] = history\n        self._mark",
            "        self.histories = {\n"
            "            key: each for key, each in self.histories.items() if key[0] != size_ms\n"
            "        }\n"
            "        self.histories[size_ms, baseline] = history\n        self._mark",
        ),
    ),
    "keys: a changelog whose beginning was deleted is restored": (
        ("kafka/shard_restore.py", "if expected is None or found == expected:", "if found is not None:"),
    ),
    "purged: an added window size is published without its purged panes": (
        (_WINDOWS + "closing.py", "is_purged = window.start_ms < self._state.purged_ms", "is_purged = False"),
    ),
    "most: each replica counts the first streams of a pattern that it reads": (
        (
            "core/counting/interval.py",
            "        clusters = [self._accumulator(batch).assign(batch) for batch in batches]",
            '        seen = self.__dict__.setdefault("seen", {})\n'
            "        batches = [\n"
            "            each for each in batches if each.stream in seen.setdefault(\n"
            "                self._specs[each.stream].name, dict.fromkeys([each.stream])\n"
            "            ) or (len(seen[self._specs[each.stream].name]) < self._specs[each.stream].most\n"
            "            and not seen[self._specs[each.stream].name].update({each.stream: None}))\n"
            "        ]\n"
            "        clusters = [self._accumulator(batch).assign(batch) for batch in batches]",
        ),
    ),
    "epochs: of a producer's waiting commits only the newest four epochs are known": (
        (
            _WINDOWS + "shard.py",
            "if each[1] >= position.offset or (each[1] == newest[producer]",
            "if (producer, epoch) in sorted(key for key in known if key[0] == producer)[-4:]"
            " or (each[1] == newest[producer]",
        ),
    ),
    "burst: a round writes all that there is": (
        (
            _WINDOWS + "work_budget.py",
            "self._bytes_left = most_bytes - of_deletions",
            "self._bytes_left = 10**12",
        ),
        ("kafka/window_worker.py", "return self._load_bytes() >= self._limit.bytes // SHARE", "return False"),
    ),
    "paused: a shard stays paused after a hand-over closed its last due windows": (
        (
            "kafka/window_worker.py",
            "        self._pause_backlogs()\n        return has_committed",
            "        if has_committed:\n            self._pause_backlogs()\n        return has_committed",
        ),
    ),
}
"""Faults that users would have met, by name."""


def plant(changes: tuple[Change, ...], service: Path) -> None:
    """Change a copy of the service.

    Raises:
        ValueError: The code is no longer what the fault was planted in.
    """
    for module, old, new in changes:
        path = service / "driftgauge" / module
        text = path.read_text("utf-8")
        if text.count(old) != 1:
            message = f"{module} does not hold once: {old}"
            raise ValueError(message)
        path.write_text(text.replace(old, new), "utf-8")


def find(name: str, seconds: float) -> list[tuple[float, int]]:
    """Return how long the simulation looked for a fault in each run that found it: in s, and in plans."""
    found: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(prefix="driftgauge-planted-") as folder:
        service = Path(folder, "service")
        shutil.copytree(SERVICE / "driftgauge", service / "driftgauge")
        plant(FAULTS[name], service)
        path = {"PYTHONPATH": f"{service}:{SERVICE.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
        for first in range(0, _RUNS * _SEEDS_APART, _SEEDS_APART):
            command = [sys.executable, "-m", "tests.simulation", "--first"]
            command += ["--seconds", str(seconds), "--seed", str(first)]
            began_s = monotonic()
            done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)
            if match := re.search(r"^SEED=(\d+): (.*)", done.stdout, re.MULTILINE):
                found.append((monotonic() - began_s, int(match[1]) - first + 1))
                say(f"    SEED={match[1]}: {match[2]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="the first words of faults (default: all)")
    parser.add_argument("--seconds", type=float, default=120)
    asked = parser.parse_args()
    is_found = True
    for name in FAULTS:
        if asked.names and name.partition(":")[0] not in asked.names:
            continue
        found = find(name, asked.seconds)
        # A run that finds nothing counts as longer than all others.
        missed = [(float("inf"), float("inf"))] * (_RUNS - len(found))
        half_s, plans = (median(each) for each in zip(*found, *missed, strict=True))
        say(f"{len(found)} of {_RUNS} runs, median {half_s:.0f} s and {plans} plans: {name}")
        is_found &= len(found) == _RUNS
    sys.exit(not is_found)


if __name__ == "__main__":
    main()
