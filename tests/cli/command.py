"""Runs of the command line in this process: output, messages and exit status."""

import json
import logging
import os
import subprocess
import sys
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from driftgauge.cli import main


def run(*arguments: object, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `driftgauge` with no environment but `environ`; an unexpected exception fails the test."""
    words = ["driftgauge", *map(str, arguments)]
    root = logging.getLogger()
    level = root.level
    with (
        # `serve` configures logging for its whole process.
        patch.object(root, "handlers", list(root.handlers)),
        patch.dict(os.environ, {"PATH": os.defpath, **environ}, clear=True),
        patch.object(sys, "argv", words),
        CliRunner().isolation(stdin) as (stdout, stderr, _),
    ):
        status: object = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            root.setLevel(level)
        sys.stdout.flush()
        sys.stderr.flush()
        assert isinstance(status, int)
        return subprocess.CompletedProcess(
            words, status, stdout.getvalue().decode(), stderr.getvalue().decode()
        )


def succeed(*arguments: object, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `driftgauge`, which must exit with 0."""
    done = run(*arguments, stdin=stdin, **environ)
    assert done.returncode == 0, done.stderr
    return done


def run_json(*arguments: object, stdin: bytes = b"") -> Any:
    """Return the document that a command prints with --json."""
    return json.loads(succeed(*arguments, "--json", stdin=stdin).stdout)


def fail(*arguments: object, status: int = 2, **environ: str) -> str:
    """Return the messages of a command that must exit with a status other than 0."""
    done = run(*arguments, **environ)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
