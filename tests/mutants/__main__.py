"""Judges the tests: which mutants of the service, drawn by lot, do they notice?

    python -m tests.mutants [--seed N] [--compare]

Without `--compare` the judgement of each seed's mutants is written to `noticed-SEED.txt`. With it the mutants
of that file are judged again; status 1: more than 1 % of those noticed before are lost.
"""

import argparse
import ast
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Final

import pytest

from tests.mutants.coverage import Coverage, Recorder, Trace, add_probes
from tests.mutants.forks import import_libraries, limit_processor_time, run_forked, run_tests
from tests.mutants.mutations import Mutation, find_mutations
from tests.output import say

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
SERVICE: Final = ROOT / "service" / "driftgauge"
PACKAGES: Final = ("baseline", "config", "core", "events", "page", "records", "telemetry")
SEEDS: Final = (1, 2)
NUMBER: Final = 250
MAX_LOST: Final = 0.01
# Files of a mutant's first run; a second run with the others follows only if these do not notice it.
FIRST_FILES: Final = 2


class Module:
    """One module of the service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(SERVICE).as_posix()
        self.dotted = ".".join(("driftgauge", *path.relative_to(SERVICE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )

    def parse(self) -> tuple[ast.Module, dict[str, Mutation]]:
        tree = ast.parse(self.path.read_text("utf-8"))
        return tree, {mutation.id: mutation for mutation in find_mutations(tree, self.name)}

    def compile(self, tree: ast.Module) -> dict[str, CodeType]:
        return {self.dotted: compile(tree, self.path, "exec")}

    def mutant(self, key: str) -> dict[str, CodeType]:
        tree, mutations = self.parse()
        mutations[key].apply()
        return self.compile(tree)


def find_modules(package: str) -> list[Module]:
    return [Module(path) for path in sorted((SERVICE / package).rglob("*.py"))]


def draw(packages: Sequence[str], number: int, seed: int) -> list[str]:
    """Return the ids of mutants of each package in proportion to its statements.

    The least hashes are drawn, so another mutation somewhere changes one mutant at most.
    """
    found: dict[str, list[str]] = {}
    statements: Counter[str] = Counter()
    for package in packages:
        for module in find_modules(package):
            tree, mutations = module.parse()
            statements[package] += sum(isinstance(node, ast.stmt) for node in ast.walk(tree))
            found.setdefault(package, []).extend(mutations)
    return [
        key
        for package, keys in found.items()
        for key in sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())[
            : round(number * statements[package] / statements.total())
        ]
    ]


def judge(
    wanted: Collection[str], packages: Sequence[str], tests: Sequence[str], jobs: int
) -> dict[str, bool]:
    """Return whether the tests notice each mutant; mutants that the code no longer has are left out."""
    modules = {module.name: module for package in packages for module in find_modules(package)}
    mutations: dict[str, Mutation] = {}
    code: dict[str, CodeType] = {}
    for module in modules.values():
        tree, found = module.parse()
        chosen = {key: found[key] for key in found if key in wanted}
        add_probes(tree, module.name, chosen.values())
        code |= module.compile(tree)
        mutations |= chosen
    import_libraries()
    coverage = cover(code, tests, jobs)
    noticed = dict.fromkeys(sorted(mutations), False)
    runs = {key: coverage.tests(mutations[key], _module(key)) for key in noticed}
    files = {key: list(dict.fromkeys(trace.file for trace in traces)) for key, traces in runs.items()}
    for first in (True, False):
        pending = {}
        for key, traces in runs.items():
            chosen = [trace for trace in traces if (trace.file in files[key][:FIRST_FILES]) is first]
            if chosen and not noticed[key]:
                pending[key] = partial(_notices, modules[_module(key)], key, chosen)
        say(f"{len(pending)} mutants to judge by {'the nearest files' if first else 'the other files'}")
        for number, result in run_forked(list(pending.values()), jobs):
            noticed[list(pending)[number]] = result is not False
    return noticed


def _module(key: str) -> str:
    return key.partition(" ")[0]


def cover(code: Mapping[str, CodeType], tests: Sequence[str], jobs: int) -> Coverage:
    """Run all tests once, in turns, and return what each of them reaches."""
    files = [
        file.relative_to(ROOT).as_posix()
        for path in tests
        for file in (sorted((ROOT / path).rglob("test_*.py")) if (ROOT / path).is_dir() else [ROOT / path])
    ]
    groups = [files[first :: 4 * jobs] for first in range(min(4 * jobs, len(files)))]
    traces: list[Trace] = []
    failed: set[str] = set()
    outside: set[str] = set()
    for number, result in run_forked([partial(_trace, group, code) for group in groups], jobs):
        if result is None:
            sys.exit(f"the tests of {groups[number]} ended early")
        traces += result[0]
        failed |= result[1]
        outside |= result[2]
    if failed:
        say(f"{len(failed)} tests fail without a mutation, and judge nothing: {', '.join(sorted(failed))}")
    return Coverage([trace for trace in traces if trace.test not in failed], outside)


def _trace(
    files: Sequence[str], code: Mapping[str, CodeType], folder: Path
) -> tuple[list[Trace], set[str], set[str]]:
    recorder = Recorder()
    run_tests(files, recorder, code, folder)
    return recorder.traces, recorder.failed, recorder.outside


def _notices(module: Module, key: str, traces: Sequence[Trace], folder: Path) -> bool:
    limit_processor_time(60 + 5 * sum(trace.seconds for trace in traces))
    files = list(dict.fromkeys(trace.file for trace in traces))
    status = run_tests(
        ["-x", *files], _Selection([trace.test for trace in traces]), module.mutant(key), folder
    )
    return status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}


class _Selection:
    """A plugin that runs the named tests only, in their order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._ranks = {test: rank for rank, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._ranks]
        items[:] = sorted(chosen, key=lambda item: self._ranks[item.nodeid])


def show_table(title: str, packages: Sequence[str], noticed: Mapping[str, bool]) -> None:
    say(f"{title:20}{'mutants':>9}{'noticed':>9}{'share':>8}")
    for package in (*packages, ""):
        results = [result for key, result in noticed.items() if key.startswith(package)]
        if results:
            share = sum(results) / len(results)
            say(f"{package or 'all':20}{len(results):9}{sum(results):9}{share:8.1%}")


def compare(before: Mapping[str, bool], now: Mapping[str, bool]) -> bool:
    """Show what changed, and return whether the loss is small enough."""
    gone = [key for key in before if key not in now]
    lost = [key for key, was in before.items() if was and now.get(key) is False]
    gained = [key for key, was in before.items() if not was and now.get(key)]
    for title, keys in (("gone", gone), ("gained", gained), ("lost", lost)):
        for key in keys:
            say(f"{title}: {key}")
    count = sum(before.values())
    say(f"noticed before {count}, now {sum(now.values())}")
    say(f"lost {len(lost)}, gained {len(gained)}, gone {len(gone)}")
    return len(lost) <= MAX_LOST * count


def read(seed: int) -> dict[str, bool]:
    lines = _file(seed).read_text("utf-8").splitlines()
    return {line[2:]: line[0] == "+" for line in lines}


def write(seed: int, noticed: Mapping[str, bool]) -> None:
    _file(seed).write_text("".join(f"{'+-'[not noticed[key]]} {key}\n" for key in sorted(noticed)), "utf-8")


def _file(seed: int) -> Path:
    return FOLDER / f"noticed-{seed}.txt"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, action="append", help="a sample of mutants (1 and 2)")
    parser.add_argument("--number", type=int, default=NUMBER, help="mutants of a sample (%(default)s)")
    parser.add_argument("--packages", default=",".join(PACKAGES), help="folders of the service (%(default)s)")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="tests that may notice (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--compare", action="store_true", help="judge the mutants of the file again")
    options = parser.parse_args()
    packages = [package.strip("/") + "/" for package in options.packages.split(",")]
    began = time.monotonic()
    before: dict[int, dict[str, bool]] = {}
    for seed in options.seed or SEEDS:
        drawn = read(seed) if options.compare else dict.fromkeys(draw(packages, options.number, seed), False)
        before[seed] = {key: was for key, was in drawn.items() if key.startswith(tuple(packages))}
    every = judge({key for drawn in before.values() for key in drawn}, packages, options.tests, options.jobs)
    say(f"{len(every)} mutants in {(time.monotonic() - began) / 60:.0f} minutes")
    passed = True
    for seed, drawn in before.items():
        noticed = {key: every[key] for key in drawn if key in every}
        show_table(f"seed {seed}", packages, noticed)
        if options.compare:
            passed &= compare(drawn, noticed)
        else:
            write(seed, noticed)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
