"""One run of each other engine of the benchmark of inputs, in its own process, with its time an event."""

import json
import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from tests.bench.input_case import Case
from tests.bench.input_service import Spent

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
QUIX = "3.28.1"
QUIX_ENGINES = {
    "quix statistics": ("at-least-once", "statistics"),
    "quix statistics exactly-once": ("exactly-once", "statistics"),
    "quix counts": ("at-least-once", "counts"),
    "quix counts exactly-once": ("exactly-once", "counts"),
    "quix memory": ("at-least-once", "memory"),
    "quix memory exactly-once": ("exactly-once", "memory"),
}
"""The guarantee and the job of each."""

LIMIT_S = 120
INSTALL_S = 300


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


def run_consumers(bootstrap: str, case: Case, part: int) -> dict[str, Spent]:
    """Return the time of raw consumption of all events, and of the floor and the plain consumer on a part."""
    arguments = [bootstrap, case.topic, case.encoding, str(case.events), str(part), str(case.matrices)]
    spent = _run([sys.executable, HERE / "input_consumers.py", *arguments])
    return {name: _an_event(each, case.events if name == "raw" else part) for name, each in spent.items()}


def run_quix(python: Path, bootstrap: str, case: Case, engine: str, events: int, run: str) -> Spent:
    """Return the time of quix-streams on some of the events."""
    arguments = [bootstrap, case.topic, case.encoding, str(events), str(case.matrices)]
    command = [python, HERE / "input_quix.py", *arguments, *QUIX_ENGINES[engine], f"quix-{run}"]
    return _an_event(_run(command), events)


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
