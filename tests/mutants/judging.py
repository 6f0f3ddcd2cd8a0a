"""Which mutants do the tests notice?"""

import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import accumulate, chain
from types import CodeType
from typing import Final

from tests.mutants.collected import CollectedTests, Trace, collect
from tests.mutants.forks import limit_resources, run_forked
from tests.mutants.service import Module, Switch
from tests.output import say

# Imported before any fork; the service is not, because forks change it.
_LIBRARIES: Final = (
    *("confluent_kafka.admin", "jinja2", "numpy", "orjson", "prometheus_client", "pydantic_settings"),
    *("scipy.special", "scipy.stats", "sklearn.cluster", "starlette.testclient", "uvicorn", "yaml"),
)
# The tests of a mutant take at most this much processor time, as long as none fails.
_BUDGET_S: Final = 20.0
# A mutant of code that runs at import needs imports of its own, which take longer than the tests.
_MAX_FILES: Final = 8


class Coverage:
    """The tests that may notice a mutation.

    Args:
        traces: What each test ran.
        shared: What ran before the tests, for all of them.
    """

    def __init__(self, traces: Collection[Trace], shared: Collection[str]) -> None:
        self.shared = shared
        self.failed = [trace.test for trace in traces if not trace.passed]
        self._traces = [trace for trace in traces if trace.passed]
        entered: dict[str, set[str]] = {}
        for trace in traces:
            entered.setdefault(trace.file, set()).update(key for key in trace.reached if " " not in key)
        self._entered = {file: len(keys) for file, keys in entered.items()}

    def find(self, key: str) -> list[Trace]:
        """Return the tests that reach a mutation or a module, files that enter the fewest modules first."""
        found = [trace for trace in self._traces if key in trace.reached]
        found.sort(key=lambda trace: (self._entered[trace.file], trace.file, trace.seconds))
        spent = accumulate(trace.seconds for trace in found)
        return [trace for trace, seconds in zip(found, spent, strict=True) if seconds <= _BUDGET_S]

    def find_for_import(self, key: str) -> list[Trace]:
        """Return the tests that call functions of a mutation's module; if there are none, of its folder."""
        module = key.partition(" ")[0]
        folder = module.rpartition("/")[0]
        return self.find(module) or self.find(folder)


def judge(
    modules: Collection[Module], wanted: Collection[str], paths: Sequence[str], jobs: int
) -> dict[str, bool]:
    """Return whether the tests notice each mutant; mutants that the code no longer has are left out."""
    keys = {module: module.mutations.keys() & wanted for module in modules}
    code = {module.dotted: module.compile(keys[module]) for module in modules}
    in_calls = {key for module in modules for key in keys[module] if module.mutations[key].in_function}
    for library in _LIBRARIES:
        import_module(library)
    switch = Switch()
    ((_, warm),) = run_forked(
        [partial(collect, paths, code, switch, partial(_judge_calls, in_calls, jobs))], 1
    )
    if warm is None:
        sys.exit("The tests cannot be collected; `make test` shows why")
    coverage, noticed = warm
    if coverage.failed:
        say(f"{len(coverage.failed)} tests fail without a mutation, and judge nothing: {coverage.failed}")
    rest = sorted(set().union(*keys.values()) - noticed.keys())
    tasks = [partial(_notice_at_import, key, coverage.find_for_import(key), code, switch) for key in rest]
    return noticed | {rest[number]: result is not False for number, result in run_forked(tasks, jobs)}


def _judge_calls(keys: Collection[str], jobs: int, tests: CollectedTests) -> tuple[Coverage, dict[str, bool]]:
    """Return what the tests reach, and whether they notice mutations of what they call."""
    shared = frozenset(tests.switch.reached)
    files: dict[str, list[str]] = {}
    for name in tests.names:
        files.setdefault(name.partition("::")[0], []).append(name)
    groups = [[*chain(*list(files.values())[first :: 4 * jobs])] for first in range(4 * jobs)]
    traces: list[Trace] = []
    for number, result in run_forked([partial(tests.trace, group) for group in groups], jobs):
        traces += result or [Trace(name, False, 0, frozenset()) for name in groups[number]]
    coverage = Coverage(traces, shared)
    judged = sorted(keys - shared)
    tasks = [partial(_notice, key, coverage.find(key), tests) for key in judged]
    return coverage, {judged[number]: result is not False for number, result in run_forked(tasks, jobs)}


def _notice(key: str, traces: Sequence[Trace], tests: CollectedTests) -> bool:
    limit_resources(sum(trace.seconds for trace in traces))
    return tests.notice(key, [trace.test for trace in traces])


def _notice_at_import(
    key: str, traces: Sequence[Trace], code: Mapping[str, CodeType], switch: Switch
) -> bool:
    files = list(dict.fromkeys(trace.file for trace in traces))[:_MAX_FILES]
    if not files:
        return False
    switch.active = key
    return collect(files, code, switch, partial(_notice, key, traces)) is not False
