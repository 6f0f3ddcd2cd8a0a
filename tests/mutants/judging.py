"""Which mutants do the tests notice?"""

import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from tests.mutants.collected import CollectedTests, Trace, collect
from tests.mutants.service import Module, Switch

_TERMINAL: Final = os.dup(1)
_MEMORY_BYTES: Final = 6 << 30


def say_aloud(line: str) -> None:
    """Print a line, also from a process whose output goes nowhere."""
    os.write(_TERMINAL, f"{line}\n".encode())


def run_forked(tasks: Mapping[str, Callable[[], object]]) -> Iterator[tuple[str, Any]]:
    """Run each task in a fork; yield its name and its result, None if the fork ended without one."""
    waiting = list(tasks)
    running: dict[int, tuple[str, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            if waiting and len(running) < 2:
                name = waiting.pop(0)
                path = Path(folder, str(len(waiting)))
                running[_fork(tasks[name], path)] = name, path.with_suffix(".pickle")
                continue
            pid, status = os.wait()
            if os.waitstatus_to_exitcode(status) == os.EX_SOFTWARE:
                raise RuntimeError(f"judging failed: {running[pid][0]}")
            # What tests start and a mutation leaves behind ends with the fork.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            name, result = running.pop(pid)
            yield name, pickle.loads(result.read_bytes()) if result.exists() else None  # noqa: S301


def _fork(task: Callable[[], object], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = os.EX_OK
    try:
        os.setpgrp()
        folder.mkdir()
        tempfile.tempdir = str(folder)
        folder.with_suffix(".pickle").write_bytes(pickle.dumps(task()))
    except Exception:  # noqa: BLE001 (pytest catches those of tests, so this is a fault of the tool)
        say_aloud(traceback.format_exc())
        status = os.EX_SOFTWARE
    finally:
        os._exit(status)


def limit_resources(seconds: float) -> None:
    """End this process when its tests take far more memory or processor time than these seconds."""
    # The time-out ends what waits for ever; the limit of processor time ends what computes for ever.
    signal.alarm(1_800)
    limit = int(time.process_time() + 5 * seconds + 60)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


# Imported before any fork; the service is not, because forks change it.
_LIBRARIES: Final = (
    *("confluent_kafka.admin", "jinja2", "numpy", "orjson", "prometheus_client", "pydantic_settings"),
    *("scipy.special", "scipy.stats", "sklearn.cluster", "starlette.testclient", "uvicorn", "yaml"),
)
# The tests of a mutant take at most this much processor time, as long as none fails.
_BUDGET_S: Final = 10.0


class Coverage:
    """The tests that may notice a mutation, by what each of them ran."""

    def __init__(self, traces: Collection[Trace]) -> None:
        self._traces = [trace for trace in traces if trace.passed]
        entered: dict[str, set[str]] = {}
        for trace in traces:
            entered.setdefault(trace.file, set()).update(key for key in trace.reached if " " not in key)
        self._entered = {file: len(keys) for file, keys in entered.items()}

    def find(self, key: str) -> list[Trace]:
        """Return the tests that reach a mutation or a module.

        Slow tests are last; before that, files that enter the fewest modules are first, for they are closest.
        """
        found = [trace for trace in self._traces if key in trace.reached]
        found.sort(key=lambda each: (each.seconds > 1.0, self._entered[each.file], each.file, each.seconds))
        spent = accumulate(trace.seconds for trace in found)
        return [trace for trace, seconds in zip(found, spent, strict=True) if seconds <= _BUDGET_S]

    def find_for_import(self, key: str) -> list[Trace]:
        """Return the tests that call functions of a mutation's module; if there are none, of its folder."""
        module = key.partition(" ")[0]
        return self.find(module) or self.find(module.rpartition("/")[0])


def judge(modules: Collection[Module], wanted: Collection[str], paths: Sequence[str]) -> dict[str, bool]:
    """Return whether the tests notice each mutant; mutants that the code no longer has are left out."""
    keys = {module: module.mutations.keys() & wanted for module in modules}
    code = {module.dotted: module.compile(keys[module]) for module in modules}
    in_calls = {key for module in modules for key in keys[module] if module.mutations[key].in_function}
    for library in _LIBRARIES:
        import_module(library)
    collected = partial(collect, code=code, switch=Switch())
    warm = partial(collected, paths, partial(_judge_calls, in_calls))
    ((_, result),) = run_forked({"": warm})
    if result is None:
        sys.exit("The tests cannot be collected; `make test` shows why")
    coverage, noticed = result
    at_import = {
        key: partial(_notice_at_import, key, coverage.find_for_import(key), collected)
        for key in sorted(set().union(*keys.values()) - noticed.keys())
    }
    return noticed | _judge_all(at_import)


def _judge_calls(keys: Collection[str], tests: CollectedTests) -> tuple[Coverage, dict[str, bool]]:
    """Return what the tests reach, and whether they notice mutations of what they call."""
    reached = frozenset(tests.switch.reached)
    files: dict[str, list[str]] = {}
    for name in tests.names:
        files.setdefault(name.partition("::")[0], []).append(name)
    traces: list[Trace] = []
    for file, result in run_forked({file: partial(tests.trace, names) for file, names in files.items()}):
        traces += result or [Trace(name, False, 0, frozenset()) for name in files[file]]
    for trace in traces:
        if not trace.passed:
            say_aloud(f"judges nothing, because it fails without a mutation: {trace.test}")
    coverage = Coverage(traces)
    # What ran before the tests ran for all of them.
    tasks = {key: partial(_notice, key, coverage.find(key), tests) for key in sorted(keys - reached)}
    return coverage, _judge_all(tasks)


def _judge_all(tasks: Mapping[str, Callable[[], object]]) -> dict[str, bool]:
    noticed: dict[str, bool] = {}
    for key, result in run_forked(tasks):
        noticed[key] = result is not False
        if result is None:
            say_aloud(f"noticed by a limit: {key}")
        if len(noticed) % 50 == 0:
            say_aloud(f"{len(noticed)} of {len(tasks)} mutants")
    return noticed


def _notice(key: str, traces: Sequence[Trace], tests: CollectedTests) -> bool:
    limit_resources(sum(trace.seconds for trace in traces))
    return tests.notice(key, [trace.test for trace in traces])


def _notice_at_import(key: str, traces: Sequence[Trace], collected: Callable[..., Any]) -> bool:
    limit_resources(_BUDGET_S)
    names = [trace.test for trace in traces]
    # A mutant of code that runs at import needs imports of its own, which take longer than the tests.
    files = list(dict.fromkeys(trace.file for trace in traces))[:8]
    return bool(files) and collected(files, lambda tests: tests.notice(key, names), active=key) is not False
