"""Tests that pytest has collected in this process, run one by one as often as needed."""

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

import pytest

from tests.mutants.service import Switch, replace_code

_OPTIONS: Final = (
    # Captured in memory, since forks would share the position in a file.
    *("-q", "-m", "not broker and not stack", "--capture", "sys", "-p", "no:xdist", "-p", "no:cacheprovider"),
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)


@dataclass(frozen=True)
class Trace:
    """What one test ran.

    Attributes:
        test: The test's node id.
        passed: Whether it passed.
        seconds: Its processor time, and that of processes it started.
        reached: The ids of mutations, and the modules in which it called functions.
    """

    test: str
    passed: bool
    seconds: float
    reached: frozenset[str]

    @property
    def file(self) -> str:
        return self.test.partition("::")[0]


class CollectedTests:
    """The tests, and pytest's plugin that gives them to `work` in place of running them."""

    def __init__(self, switch: Switch, work: Callable[["CollectedTests"], object]) -> None:
        self.switch = switch
        self.result: Any = None
        self._work = work
        self._items: dict[str, pytest.Function] = {}
        self._fixtures: dict[object, set[str]] = {}

    def pytest_sessionstart(self) -> None:
        # Hypothesis tries the same examples each time, and simplifies none. Pytest must import it first.
        from hypothesis import Phase, settings  # noqa: PLC0415

        development = settings.get_profile("development")
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", development, derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items if isinstance(item, pytest.Function)}
        if not session.testsfailed:
            self.result = self._work(self)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Generator[None, Any, Any]:
        outer, self.switch.reached = self.switch.reached, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self._fixtures[fixturedef] = self.switch.reached
            outer |= self.switch.reached
            self.switch.reached = outer

    @property
    def names(self) -> Collection[str]:
        return self._items.keys()

    def trace(self, names: Sequence[str]) -> list[Trace]:
        """Run tests without a mutation."""
        return list(self._run(names))

    def notice(self, mutation: str, names: Sequence[str]) -> bool:
        """Return whether one of some tests fails with a mutation."""
        self.switch.active = mutation
        return any(not trace.passed for trace in self._run([name for name in names if name in self._items]))

    def _run(self, names: Sequence[str]) -> Generator[Trace]:
        items = [self._items[name] for name in names]
        for item, following in zip(items, [*items[1:], None], strict=False):
            self.switch.reached = reached = set()
            failed, began = item.session.testsfailed, sum(os.times()[:4])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds = sum(os.times()[:4]) - began
            # A fixture of several tests is set up for the first of them, and may fail each of them.
            for name in item.fixturenames:
                for fixture in item._fixtureinfo.name2fixturedefs.get(name, ()):
                    reached |= self._fixtures.get(fixture, set())
            yield Trace(item.nodeid, item.session.testsfailed == failed, seconds, frozenset(reached))


def collect(
    paths: Sequence[str],
    work: Callable[[CollectedTests], object],
    code: Mapping[str, CodeType],
    switch: Switch,
    active: str = "",
) -> Any:
    """Collect tests with other code of some modules, and return what `work` does; None if that fails."""
    replace_code(code)
    switch.active = active
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    tests = CollectedTests(switch, work)
    pytest.main([*_OPTIONS, *paths], plugins=[tests])
    return tests.result
