"""Test runs in forked processes, each with code of its own in place of some of the service's modules."""

import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any, Final

import pytest

# Imported once, before the first fork. The service itself is imported in each fork.
_LIBRARIES: Final = (
    *("confluent_kafka.admin", "jinja2", "numpy", "orjson", "prometheus_client", "pydantic_settings"),
    *("scipy.special", "scipy.stats", "sklearn.cluster", "starlette.testclient", "uvicorn", "yaml"),
)
_OPTIONS: Final = (
    *("-q", "-m", "not broker and not stack", "-p", "no:xdist", "-p", "no:cacheprovider"),
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)
# The time-out ends what waits for ever; a limit of processor time ends what computes for ever.
_TIMEOUT_S: Final = 600
_MEMORY_BYTES: Final = 6 << 30


def import_libraries() -> None:
    for library in _LIBRARIES:
        import_module(library)


def run_forked(tasks: Sequence[Callable[[Path], object]], jobs: int) -> Iterator[tuple[int, Any]]:
    """Run each task in a fork with a folder of its own; yield its number and result, None if it died."""
    running: dict[int, int] = {}
    with TemporaryDirectory() as name:
        for number in range(len(tasks) + jobs):
            if number < len(tasks):
                running[_fork(tasks[number], Path(name, str(number)))] = number
            if running and (len(running) == jobs or number >= len(tasks)):
                pid, _ = os.wait()
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                ended = running.pop(pid)
                result = Path(name, f"{ended}.pickle")
                yield ended, pickle.loads(result.read_bytes()) if result.exists() else None  # noqa: S301


def _fork(task: Callable[[Path], object], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    # What the tests start and a mutant leaves behind ends with the fork.
    os.setpgrp()
    try:
        signal.alarm(_TIMEOUT_S)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        folder.with_suffix(".pickle").write_bytes(pickle.dumps(task(folder)))
    finally:
        os._exit(0)


def limit_processor_time(seconds: float) -> None:
    """End this process after some seconds more on the processor."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))


def run_tests(paths: Sequence[str], plugin: object, code: Mapping[str, CodeType], folder: Path) -> int:
    """Run tests of files or folders in this process, and return pytest's exit status."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        return code.get(fullname) or original(self, fullname)

    SourceFileLoader.get_code = get_code
    return pytest.main([*_OPTIONS, "--basetemp", str(folder), *paths], plugins=[_Deterministic(), plugin])


class _Deterministic:
    """Hypothesis tries the same examples in each run, and does not simplify those that fail."""

    def pytest_sessionstart(self) -> None:
        # Imported late: pytest rewrites it.
        from hypothesis import Phase, settings  # noqa: PLC0415

        development = settings.get_profile("development")
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", development, derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")
