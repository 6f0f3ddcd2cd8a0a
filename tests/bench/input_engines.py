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
from tests.bench.workload import create_topics
from tests.harness.service import ReplicaProcess

ROOT = Path(__file__).parents[2]
QUIX = "3.28.1"
QUIX_JOBS = {
    "quix-streams, statistics": ("exactly-once", "statistics"),
    "quix-streams, counts": ("at-least-once", "counts"),
}
"""The guarantee and the job of each: the service's own, and what a user would write first."""

LIMIT_S = 600
# Each scrape takes about 5 ms of processor time.
POLL_S = 0.5

Spent = Mapping[str, float]
"""Microseconds an event: `processor` and `wall`; of the service also `memory` in MiB."""


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
    """Return the time and the memory of the service, both roles in one process, by its own metrics.

    It counts from the assignment of the partitions to the last event. Left out is what was done before the
    first sample with assigned partitions, about `POLL_S` after the assignment at most.
    """
    group = f"{case.topic}-service{'-before' * is_before}-{run}"
    config = case.config(bootstrap, group, is_before=is_before)
    create_topics(bootstrap, [], [f"{group}.windows", f"{group}.dead-letters"])
    settings = environment_before(case.before) if is_before and case.before else {}
    with ReplicaProcess(config, config.with_suffix(".log"), settings) as service:
        first, last = _watch(service, case)
        service.stop()
    events = last["events"] - first["events"]
    spent = {name: (last[name] - first[name]) / events * 1e6 for name in ("processor", "wall")}
    return {**spent, "memory": last["memory"]}


def _watch(service: ReplicaProcess, case: Case) -> tuple[dict[str, float], dict[str, float]]:
    """Return the first figures with assigned partitions, and those when all events are counted."""
    first: dict[str, float] = {}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        wall, scrape = time.monotonic(), service.scrape()
        if not scrape.total("driftgauge_consumer_assigned_partitions", topic=case.topic):
            continue
        figures = {
            "wall": wall,
            "events": scrape.total("driftgauge_events_total"),
            "processor": scrape.total("process_cpu_seconds_total"),
            "memory": scrape.total("process_resident_memory_bytes") / 2**20,
        }
        first = first or figures
        if figures["events"] == case.events:
            return first, figures
    sys.exit(f"not all of {case.events} events were counted in {LIMIT_S} s:\n{service.log_tail()}")
