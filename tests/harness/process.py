"""A server of the tests: one process with a log, started, stopped, killed and paused within bounds."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.waiting import PATIENCE_S

STOP_TIMEOUT_S: Final = 60.0
LOG_TAIL_LINES: Final = 40


class ServerError(Exception):
    """The server did not start although all requirements are met; the message ends with its log."""


class ServerProcess:
    """Base of a server. Between `stop` or `kill` and `start` it keeps its ports and its data.

    A subclass has `_answers`.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self._name = name
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Returns the last lines of the server's log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def launch(self) -> None:
        """Starts the process without waiting for its answer."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # Ctrl-C must reach only the tests, which then stop the server.
                start_new_session=True,
            )

    def await_answer(self) -> None:
        """Waits until the server answers. Raises ServerError if it exits or takes over five minutes."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                self._raise_start_failure(f"exited with {self._process and self._process.returncode}")
            if time.monotonic() > deadline:
                self._raise_start_failure(
                    f"did not answer within {PATIENCE_S:.0f} s: end other programs, and start it again"
                )
            time.sleep(0.05)

    def start(self) -> None:
        """Starts the server on its ports and its data, and waits for its answer, as `await_answer` does."""
        self.launch()
        self.await_answer()

    def stop(self) -> None:
        """Stops the server (SIGTERM, after 60 s SIGKILL). Keeps the data."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """Kills the server (SIGKILL), like a crash, paused or not. Keeps the data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stops the server if it runs, and starts it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Suspends the process (SIGSTOP): its connections stay open without answers."""
        self._running_process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a paused process (SIGCONT)."""
        self._running_process().send_signal(signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _answers(self) -> bool:
        raise NotImplementedError

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.running:
            raise ServerError(f"{self._name} does not run: start it first.")
        return self._process

    def _raise_start_failure(self, what: str) -> NoReturn:
        self.kill()
        raise ServerError(f"{self._name} {what}. Its log ends:\n{self.log_tail()}")
