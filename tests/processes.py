"""Commands run to their end, with their output captured as text."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.needed import required
from tests.waiting import PATIENCE_S

Completed = subprocess.CompletedProcess[str]


def run_command(
    *command: str | Path, check: bool = False, timeout: float = PATIENCE_S, **options: Any
) -> Completed:
    """Run a command with these options of `subprocess.run`."""
    words = [*map(str, command)]
    return subprocess.run(words, check=check, timeout=timeout, capture_output=True, text=True, **options)


def run_python(program: str, **options: Any) -> Completed:
    """Run a program in a new interpreter; it must succeed."""
    return run_command(sys.executable, "-c", program, check=True, **options)


def run_required(program: str, package: str, *arguments: str | Path, **options: Any) -> Completed:
    """Run a program that a test requires, of this package; it must succeed."""
    done = run_command(required(program, package), *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
