"""One run of each engine of the benchmark of inputs, in a process of its own, with its time an event."""

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tests.bench.input_case import Case
from tests.bench.usage import processor_s
from tests.bench.workload import PARTITIONS
from tests.harness.service import ReplicaProcess
from tests.harness.topics import committed
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "driftgauge"
QUIX = "3.28.1"
LIMIT_S = 600
# The last windows close and are published; then nothing is left to do.
SETTLE_S, IDLE_S = 5.0, 20.0

Spent = Mapping[str, float]
"""Microseconds an event: `processor`, `wall`; of the service also `fixed` in ms a second."""


def quix_python() -> Path:
    """Return the interpreter of quix-streams' environment in the cache folder, which is created at first."""
    folder = CACHE / f"quix-{QUIX}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        pins = [f"{name}=={version(name)}" for name in ("numpy", "orjson", "pybase64")]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"quixstreams=={QUIX}", *pins], check=True, timeout=LIMIT_S)
        stamp.touch()
    return python


def run_client(bootstrap: str, case: Case) -> Spent:
    """Return the time of Kafka's client alone."""
    return _run(case, sys.executable, "tests.bench.input_client", bootstrap, case.topic, str(case.events))


def run_quix(python: Path, bootstrap: str, case: Case, run: int) -> Spent:
    """Return the time of quix-streams."""
    where = [bootstrap, case.topic, case.encoding, str(case.events), str(case.matrices)]
    return _run(case, str(python), "tests.bench.input_quix", *where, f"{case.topic}-quix-{run}")


def _run(case: Case, python: str, module: str, *arguments: str) -> Spent:
    """Run an engine with one BLAS thread, so that products keep to a core; return its time an event."""
    done = subprocess.run(
        [python, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        timeout=LIMIT_S,
        check=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return {name: seconds / case.events * 1e6 for name, seconds in json.loads(done.stdout).items()}


def run_service(bootstrap: str, case: Case, run: int) -> Spent:
    """Return the time of the service, both roles in one process, by the system's figures.

    It counts from the first commit to the last event. What the process spends in a second without events is
    `fixed`, in ms, and not in the processor time of an event. Commits are read from the broker: a scrape of
    the service would take processor time of its own.
    """
    group = f"{case.topic}-service-{run}"
    config = case.config(bootstrap, group)

    def look(events: int) -> tuple[float, float, int] | None:
        """Return the time, the processor time and the committed events, if these are enough."""
        offsets = committed(bootstrap, group, case.topic, range(PARTITIONS), "read_uncommitted")
        seen = sum(max(offset, 0) for offset in offsets.values())
        return (time.monotonic(), processor_s(service.pid), seen) if seen >= events else None

    with ReplicaProcess(config, config.with_suffix(".log")) as service:
        first, last = (
            np.array(wait_for(f"{events} events", partial(look, events), within_s=LIMIT_S))
            for events in (1, case.events)
        )
        time.sleep(SETTLE_S)
        began_s, used_s = time.monotonic(), processor_s(service.pid)
        time.sleep(IDLE_S)
        fixed = (processor_s(service.pid) - used_s) / (time.monotonic() - began_s)
        service.stop()
    wall, processor, events = last - first
    return {
        "processor": (processor - fixed * wall) / events * 1e6,
        "wall": wall / events * 1e6,
        "fixed": fixed * 1e3,
    }
