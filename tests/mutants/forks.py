"""Tasks in forked processes, with limits."""

import os
import pickle
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

# The time-out ends what waits for ever; the limit of processor time ends what computes for ever.
_TIMEOUT_S: Final = 600
_MEMORY_BYTES: Final = 6 << 30


def run_forked(tasks: Sequence[Callable[[], object]], jobs: int) -> Iterator[tuple[int, Any]]:
    """Run each task in a fork; yield its number and its result, None if the fork ended without one."""
    running: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(len(tasks) + jobs):
            if number < len(tasks):
                running[_fork(tasks[number], Path(name, str(number)))] = number
            if running and (len(running) == jobs or number >= len(tasks)):
                pid, _ = os.wait()
                # What tests start and a mutation leaves behind ends with the fork.
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                ended = running.pop(pid)
                result = Path(name, f"{ended}.pickle")
                yield ended, pickle.loads(result.read_bytes()) if result.exists() else None  # noqa: S301


def _fork(task: Callable[[], object], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgrp()
        folder.mkdir()
        tempfile.tempdir = str(folder)
        result = pickle.dumps(task())
        folder.with_suffix(".pickle").write_bytes(result)
    finally:
        os._exit(0)


def limit_resources(seconds: float) -> None:
    """End this process when its tests take far more memory or processor time than these seconds."""
    signal.alarm(_TIMEOUT_S)
    limit = int(time.process_time() + 5 * seconds + 60)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
