"""Runs of the command line in this process: output, messages and exit status."""

import logging
import os
import subprocess
import sys
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
