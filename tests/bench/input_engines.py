"""One run of each engine of the benchmark of inputs, in a process of its own, with its time an event."""

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.bench.input_case import Case, environment_before
from tests.bench.workload import PARTITIONS, create_topics
from tests.harness.service import ReplicaProcess
from tests.harness.topics import committed

ROOT = Path(__file__).parents[2]
QUIX = "3.28.1"
QUIX_JOBS = {
    "quix-streams, statistics": ("exactly-once", "statistics"),
    "quix-streams, counts": ("at-least-once", "counts"),
}
"""The guarantee and the job of each: the service's own, and what a user would write first."""

LIMIT_S = 600
POLL_S = 0.5
# The last windows close and are published; then nothing is left to do.
SETTLE_S, IDLE_S = 5.0, 20.0
PAGE = os.sysconf("SC_PAGE_SIZE")

Spent = Mapping[str, float]
"""Microseconds an event: `processor`, `wall`; of the service also `fixed` in ms a second, `memory` in MiB."""


def quix_python(cache: Path) -> Path:
    """Return the interpreter of quix-streams' environment in the cache folder, which is created at first."""
    folder = cache / f"quix-{QUIX}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        pins = [f"{name}=={version(name)}" for name in ("numpy", "orjson", "pybase64")]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"quixstreams=={QUIX}", *pins], check=True, timeout=LIMIT_S)
        stamp.touch()
    return python


def run_consumers(bootstrap: str, case: Case) -> dict[str, Spent]:
    """Return the time of consuming alone, of the floor, and of a plain consumer."""
    arguments = [bootstrap, case.topic, case.encoding, str(case.events), str(case.matrices)]
    spent = _run([sys.executable, "-m", "tests.bench.input_consumers", *arguments])
    return {name: _an_event(each, case) for name, each in spent.items()}


def run_quix(python: Path, bootstrap: str, case: Case, engine: str, run: int) -> Spent:
    """Return the time of quix-streams."""
    arguments = [bootstrap, case.topic, case.encoding, str(case.events), str(case.matrices)]
    guarantee, job = QUIX_JOBS[engine]
    words = [str(python), "-m", "tests.bench.input_quix", *arguments, guarantee, job]
    return _an_event(_run([*words, f"{case.topic}-quix-{job}-{run}"]), case)


def _run(command: list[str]) -> dict:
    """Run an engine with one BLAS thread, so that products keep to a core; return what it prints."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        timeout=LIMIT_S,
        check=True,
        cwd=ROOT,
        env={**os.environ, **threads},
    )
    return json.loads(done.stdout)


def _an_event(spent: Spent, case: Case) -> Spent:
    return {name: seconds / case.events * 1e6 for name, seconds in spent.items()}


def run_service(bootstrap: str, case: Case, run: int, *, is_before: bool = False) -> Spent:
    """Return the time and the memory of the service, both roles in one process, by the system's figures.

    It counts from the first commit to the last event. What the process spends in a second without events is
    `fixed`, in ms, and not in the processor time of an event.
    """
    group = f"{case.topic}-service{'-before' * is_before}-{run}"
    config = case.config(bootstrap, group, is_before=is_before)
    create_topics(bootstrap, [], [f"{group}.windows", f"{group}.dead-letters"])
    settings = environment_before(case.before) if is_before and case.before else {}
    with ReplicaProcess(config, config.with_suffix(".log"), settings) as service:
        first, last = _watch(service, case, bootstrap, group)
        time.sleep(SETTLE_S)
        spent = [(time.monotonic(), processor_s(service.pid))]
        time.sleep(IDLE_S)
        spent.append((time.monotonic(), processor_s(service.pid)))
        memory = int(Path(f"/proc/{service.pid}/statm").read_text("ascii").split()[1]) * PAGE / 2**20
        service.stop()
    (start, before), (end, after) = spent
    fixed = (after - before) / (end - start)
    wall, processor, events = (last[i] - first[i] for i in range(3))
    return {
        "processor": (processor - fixed * wall) / events * 1e6,
        "wall": wall / events * 1e6,
        "fixed": fixed * 1e3,
        "memory": memory,
    }


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used, in seconds, by the system."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _watch(service: ReplicaProcess, case: Case, bootstrap: str, group: str) -> list[tuple[float, float, int]]:
    """Return time, processor time and committed events at the first commit, and at that of the last event.

    Commits are read from the broker: a scrape of the service would take processor time of its own.
    """
    found: list[tuple[float, float, int]] = []
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        offsets = committed(bootstrap, group, case.topic, range(PARTITIONS), "read_uncommitted")
        events = sum(max(offset, 0) for offset in offsets.values())
        if events:
            found = [*found[:1], (time.monotonic(), processor_s(service.pid), events)]
        if events == case.events:
            return found
    sys.exit(f"not all of {case.events} events were counted in {LIMIT_S} s:\n{service.log_tail()}")
