"""Which tests run which mutations, and how long each test takes."""

import ast
import builtins
import time
from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import pytest

from tests.mutants.mutations import Mutation

_PROBE: Final = "__reached__"
# Tests of a mutant take at most this much processor time, as long as nothing fails.
_BUDGET_S: Final = 20.0


@dataclass(frozen=True)
class Trace:
    """What one test ran that passed.

    Attributes:
        test: The test's node id.
        seconds: Its processor time, in this process.
        reached: The ids of mutations, and the modules in which it called functions.
    """

    test: str
    seconds: float
    reached: frozenset[str]

    @property
    def file(self) -> str:
        return self.test.partition("::")[0]


def add_probes(tree: ast.Module, module: str, mutations: Iterable[Mutation]) -> None:
    """Make a module's tree report each call of a function, and each run of a mutation's statement."""
    probes: dict[ast.stmt, list[str]] = {}
    for mutation in mutations:
        probes.setdefault(mutation.statement, []).append(mutation.id)
    for node in list(ast.walk(tree)):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                statements[:] = [
                    new
                    for statement in statements
                    for new in (*map(_probe, probes.get(statement, ())), statement)
                ]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body.insert(1 if ast.get_docstring(node) else 0, _probe(module))
    ast.fix_missing_locations(tree)


def _probe(key: str) -> ast.stmt:
    return ast.Expr(ast.Call(ast.Name(_PROBE, ast.Load()), [ast.Constant(key)], []))


class Recorder:
    """A plugin that records the traces of a run; what runs outside of tests is apart."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self.failed: set[str] = set()
        self.outside: set[str] = set()
        self._reached = self.outside
        self._fixtures: dict[object, set[str]] = {}
        setattr(builtins, _PROBE, self._add)

    def _add(self, key: str) -> None:
        self._reached.add(key)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Generator[None, Any, Any]:
        self._reached = reached = set()
        before = time.process_time()
        result = yield
        self._reached = self.outside
        # A fixture of several tests is set up for the first of them, and guards all.
        for name in item.fixturenames:
            for fixture in item._fixtureinfo.name2fixturedefs.get(name, ()):
                reached |= self._fixtures.get(fixture, set())
        self.traces.append(Trace(item.nodeid, time.process_time() - before, frozenset(reached)))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Generator[None, Any, Any]:
        outer, self._reached = self._reached, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self._fixtures[fixturedef] = self._reached
            outer |= self._reached
            self._reached = outer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


class Coverage:
    """The tests that may notice a mutation."""

    def __init__(self, traces: Collection[Trace], outside: Collection[str]) -> None:
        self._traces = traces
        self._outside = outside
        modules: dict[str, set[str]] = {}
        for trace in traces:
            entered = (key for key in trace.reached if key.endswith(".py"))
            modules.setdefault(trace.file, set()).update(entered)
        self._entered = {file: len(each) for file, each in modules.items()}

    def tests(self, mutation: Mutation, module: str) -> list[Trace]:
        """Return the tests that run a mutation: files that enter the fewest modules first, then fast tests.

        Code that runs at import, or for several tests at once, belongs to the tests that call functions
        of its module; if there are none, to those of its package.
        """
        if mutation.in_function and mutation.id not in self._outside:
            found = [trace for trace in self._traces if mutation.id in trace.reached]
        else:
            package = module.partition("/")[0] + "/"
            found = [trace for trace in self._traces if module in trace.reached] or [
                trace for trace in self._traces if any(key.startswith(package) for key in trace.reached)
            ]
        found.sort(key=lambda trace: (self._entered[trace.file], trace.file, trace.seconds))
        spent = accumulate(trace.seconds for trace in found)
        return [trace for trace, seconds in zip(found, spent, strict=True) if seconds <= _BUDGET_S]
