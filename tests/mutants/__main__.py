"""Judges the tests: which mutants of the service, drawn by lot, do they notice?

    python -m tests.mutants [--seed N] [--compare]

Without `--compare` the judgement of each seed's mutants is written to `noticed-SEED.txt`. With it the mutants
of that file are judged again; status 1: more than 1 % of those noticed before are lost, or more than 5 % of
all are gone with their code, so that the sample says little.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from tests.mutants.judging import judge
from tests.mutants.service import Module, find_modules
from tests.output import say

PACKAGES: Final = (
    "baseline",
    "config",
    "core",
    "events",
    "page",
    "recorded",
    "records",
    "telemetry",
    "topics",
    "web",
)
NUMBER: Final = 250
MAX_GONE: Final = 0.05


def draw(modules: Mapping[str, Sequence[Module]], number: int, seed: int) -> list[str]:
    """Return the ids of mutants of each package in proportion to its statements.

    The least hashes are drawn, so another mutation somewhere changes one mutant at most.
    """
    statements = {package: sum(module.statements for module in found) for package, found in modules.items()}
    drawn = []
    for package, found in modules.items():
        keys = [key for module in found for key in module.mutations]
        keys.sort(key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
        drawn += keys[: round(number * statements[package] / sum(statements.values()))]
    return drawn


def show_table(title: str, packages: Sequence[str], noticed: Mapping[str, bool]) -> None:
    say(f"{title:20}{'mutants':>9}{'noticed':>9}{'share':>8}")
    for package in (*packages, ""):
        results = [result for key, result in noticed.items() if key.startswith(package)]
        if results:
            share = sum(results) / len(results)
            say(f"{package or 'all':20}{len(results):9}{sum(results):9}{share:8.1%}")


def compare(before: Mapping[str, bool], now: Mapping[str, bool]) -> bool:
    """Show what changed; return whether the loss is small enough, and the sample still there."""
    gone = [key for key in before if key not in now]
    lost = [key for key, was in before.items() if was and now.get(key) is False]
    gained = [key for key, was in before.items() if not was and now.get(key)]
    for title, keys in (("gone", gone), ("gained", gained), ("lost", lost)):
        for key in keys:
            say(f"{title}: {key}")
    count = sum(before.values())
    say(f"noticed before {count}, now {sum(now.values())}")
    say(f"lost {len(lost)}, gained {len(gained)}, gone {len(gone)}")
    if is_stale := len(gone) > MAX_GONE * len(before):
        say(f"more than {MAX_GONE:.0%} are gone: draw new samples before a test is deleted")
    return len(lost) <= count / 100 and not is_stale


def read(seed: int) -> dict[str, bool]:
    return {line[2:]: line[0] == "+" for line in _file(seed).read_text("utf-8").splitlines()}


def write(seed: int, noticed: Mapping[str, bool]) -> None:
    _file(seed).write_text("".join(f"{'+-'[not noticed[key]]} {key}\n" for key in sorted(noticed)), "utf-8")


def _file(seed: int) -> Path:
    return Path(__file__).with_name(f"noticed-{seed}.txt")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, action="append", help="a sample of mutants (1 and 2)")
    parser.add_argument("--number", type=int, default=NUMBER, help="mutants of a sample (%(default)s)")
    parser.add_argument("--packages", default=",".join(PACKAGES), help="folders of the service (%(default)s)")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="tests that may notice (%(default)s)")
    parser.add_argument("--compare", action="store_true", help="judge the mutants of the file again")
    options = parser.parse_args()
    is_whole = (options.number, options.packages) == (NUMBER, ",".join(PACKAGES))
    if not (options.compare or is_whole or options.seed):
        parser.error("a sample of some packages needs a --seed of its own: 1 and 2 are the yardstick")
    began = time.monotonic()
    packages = {f"{name.strip('/')}/": find_modules(name) for name in options.packages.split(",")}
    before: dict[int, dict[str, bool]] = {}
    for seed in options.seed or (1, 2):
        drawn = read(seed) if options.compare else dict.fromkeys(draw(packages, options.number, seed), False)
        before[seed] = {key: was for key, was in drawn.items() if key.startswith(tuple(packages))}
    wanted = {key for drawn in before.values() for key in drawn}
    every = judge([*chain(*packages.values())], wanted, options.tests)
    say(f"{len(every)} mutants in {(time.monotonic() - began) / 60:.0f} minutes")
    passed = True
    for seed, drawn in before.items():
        noticed = {key: every[key] for key in drawn if key in every}
        show_table(f"seed {seed}", [*packages], noticed)
        if options.compare:
            passed &= compare(drawn, noticed)
        else:
            write(seed, noticed)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
