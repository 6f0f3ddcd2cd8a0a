"""One run of each engine of the throughput benchmark, in a process of its own, with its time an event."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic
from tests.bench.input_case import Case
from tests.bench.service import watch
from tests.integration.service import DRIFTGAUGE, ReplicaProcess

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
QUIX = "3.28.1"
QUIX_ENGINES = {
    "quix": ("at-least-once", "windows"),
    "quix exactly-once": ("exactly-once", "windows"),
    "quix memory": ("at-least-once", "memory"),
    "quix memory exactly-once": ("exactly-once", "memory"),
}
"""The guarantee and the job of each."""

LIMIT_S = 120
# Each scrape takes about 5 ms of processor time.
POLL_S = 0.5
INSTALL_S = 300

Spent = Mapping[str, float]
"""Microseconds an event: `processor` and `wall`; of the service also `memory` in MiB."""


class EngineError(Exception):
    """A run of an engine has failed; the message is the last line of its output."""


def quix_python(cache: Path) -> tuple[Path | None, str]:
    """Return the interpreter of quix-streams' environment in the cache folder, or None and the reason."""
    folder = cache / f"quix-{QUIX}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        pins = [f"{name}=={version(name)}" for name in ("numpy", "orjson", "pybase64")]
        try:
            venv.create(folder, with_pip=True, clear=True)
            install: list[str | Path] = [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            subprocess.run(
                [*install, f"quixstreams=={QUIX}", *pins],
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
            )
            stamp.touch()
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            return None, str(output).strip().splitlines()[-1]
    return python, ""


def run_consumers(bootstrap: str, case: Case, events: int) -> dict[str, Spent]:
    """Return the time of raw consumption, the floor, and the plain consumer."""
    arguments = [bootstrap, case.topic, case.encoding, str(events), str(case.matrices)]
    spent = _run([sys.executable, HERE / "input_consumers.py", *arguments])
    return {name: _an_event(each, events) for name, each in spent.items()}


def run_quix(python: Path, bootstrap: str, case: Case, engine: str, events: int, run: str) -> Spent:
    """Return the time of quix-streams on some of the events."""
    arguments = [bootstrap, case.topic, case.encoding, str(events), str(case.matrices)]
    command = [python, HERE / "input_quix.py", *arguments, *QUIX_ENGINES[engine], f"quix-{run}"]
    return _an_event(_run(command), events)


def run_service(bootstrap: str, case: Case, run: str) -> Spent:
    """Return the time of the service, both roles in one process, and its memory."""
    group = f"{case.topic}-{run}"
    return _watch_service(bootstrap, case, case.config(bootstrap, group), group, DRIFTGAUGE)


def run_before(bootstrap: str, case: Case, run: str) -> Spent:
    """Return the time of the service of the earlier checkout, and its memory."""
    group = f"{case.topic}-before-{run}"
    config = case.config(bootstrap, group, is_before=True)
    return _watch_service(bootstrap, case, config, group, [str(HERE / "input_before.py"), str(case.before)])


def _watch_service(
    bootstrap: str, case: Case, config: Path, group: str, program: Sequence[str]
) -> dict[str, float]:
    """Return the time from the first commit to that of the last event, by the service's own metrics.

    Where the first commit has more than half of the events, it is the time from the assignment of the
    partitions, and overstated.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(f"{group}.{name}", 1) for name in ("windows", "dead-letters")]
    for created in admin.create_topics(topics).values():
        created.result(30)
    with ReplicaProcess(config, config.with_suffix(".log"), program=program) as service:
        first, last = watch(service, case.topic, case.events, interval_s=POLL_S, from_commit=True)
        service.stop()
    events = last["driftgauge_events_total"] - first["driftgauge_events_total"]
    names = {"processor": "process_cpu_seconds_total", "wall": "time"}
    spent = {own: (last[name] - first[name]) / events * 1e6 for own, name in names.items()}
    return {**spent, "memory": last["process_resident_memory_bytes"] / 2**20}


def _run(command: list[str | Path]) -> dict:
    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"no end within {LIMIT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise EngineError(error.stderr.strip().splitlines()[-1]) from error
    return json.loads(done.stdout)


def _environment() -> dict[str, str]:
    """Return the environment of all engines: one BLAS thread, so that products do not compete for cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _an_event(spent: Spent, events: int) -> Spent:
    return {name: seconds / events * 1e6 for name, seconds in spent.items()}
