"""Tasks in forked processes, with limits."""

import os
import pickle
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

# The time-out ends what waits for ever; the limit of processor time ends what computes for ever.
_TIMEOUT_S: Final = 1800
_TERMINAL: Final = os.dup(1)
_MEMORY_BYTES: Final = 6 << 30


def say_aloud(line: str) -> None:
    """Print a line, also from a process whose output goes nowhere."""
    os.write(_TERMINAL, f"{line}\n".encode())


def run_forked(tasks: Mapping[str, Callable[[], object]], jobs: int) -> Iterator[tuple[str, Any]]:
    """Run each task in a fork; yield its name and its result, None if the fork ended without one."""
    waiting = list(tasks)
    running: dict[int, tuple[str, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            if waiting and len(running) < jobs:
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
        result = pickle.dumps(task())
        folder.with_suffix(".pickle").write_bytes(result)
    except Exception:  # noqa: BLE001 (pytest catches those of tests, so this is a fault of the tool)
        say_aloud(traceback.format_exc())
        status = os.EX_SOFTWARE
    finally:
        os._exit(status)


def limit_resources(seconds: float) -> None:
    """End this process when its tests take far more memory or processor time than these seconds."""
    signal.alarm(_TIMEOUT_S)
    limit = int(time.process_time() + 5 * seconds + 60)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
