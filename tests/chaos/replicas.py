"""The replicas of the service as processes: each name has one at a time, which others may follow."""

import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from deploy.demo.scrape import Scrape

from tests.integration.service import DRIFTGAUGE, ReplicaProcess

READY_S = 60.0
LOOK_EVERY_S = 0.1
TAIL_LINES = 5
# What fails so often will not come to an end.
MOST_FAILURES = 10


# These have no name that lasts from process to process.
UNNAMED: Final = ("replica-2", "replica-4")


class Replicas:
    """The replicas of one configuration; leaving the context kills what still runs.

    Different names may be handled by different threads. One that hangs is ended in a way that
    leaves in its log where each of its threads stood.

    Attributes:
        failures: What no replica should have done, such as ending by itself.
    """

    def __init__(
        self,
        config: Path,
        logs: Path,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        program: Sequence[str] = DRIFTGAUGE,
    ) -> None:
        """Prepare them.

        Args:
            config: The configuration of all.
            logs: The folder of their logs.
            settings: By name, environment variables laid over the configuration.
            program: What Python runs in place of `driftgauge`.
        """
        self._config = config
        self._logs = logs
        self._settings = settings or {}
        self._program = program
        self._starts: Counter[str] = Counter()
        self._running: dict[str, ReplicaProcess] = {}
        self.failures: list[str] = []

    def __enter__(self) -> "Replicas":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for service in self._running.values():
            service.kill()

    @property
    def starts(self) -> int:
        """How many processes there have been."""
        return self._starts.total()

    @property
    def running(self) -> dict[str, ReplicaProcess]:
        """The process of each name."""
        return dict(sorted(self._running.copy().items()))

    def start(self, name: str) -> ReplicaProcess:
        self._starts[name] += 1
        log = self._logs / f"{name}.{self._starts[name]}.log"
        named = {} if name in UNNAMED else {"DRIFTGAUGE_REPLICA": name}
        settings = {"PYTHONFAULTHANDLER": "1", **named, **self._settings.get(name, {})}
        service = self._running[name] = ReplicaProcess(self._config, log, settings, self._program)
        return service

    def kill(self, name: str) -> None:
        service = self._running.pop(name)
        if not service.is_running():
            self._note_end(name, service)
        service.kill()

    def terminate(self, name: str) -> None:
        """End it by SIGTERM, which it must heed within a bounded time and with status 0."""
        service = self._running.pop(name)
        try:
            service.stop()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{name} on SIGTERM: {error}")
            if service.is_running():
                service.abort()

    def wait_until_ready(self) -> None:
        """Wait until all say that they are ready.

        One that has ended by itself, or is not ready within the bound, is a failure and started renewed.
        """
        deadline = time.monotonic() + READY_S
        while waiting := [name for name in self.running if not self._is_ready(name)]:
            if time.monotonic() > deadline:
                for name in waiting:
                    if name not in self._running:
                        continue
                    self.failures.append(f"{name} was not ready within {READY_S:g} s")
                    self._running[name].abort()
                    self.start(name)
                return
            time.sleep(LOOK_EVERY_S)

    def scrapes(self) -> dict[str, Scrape]:
        """What each one shows; of one that does not answer, nothing."""
        found = {}
        for name, service in self.running.items():
            with suppress(AssertionError):
                found[name] = service.scrape()
        return found

    def _is_ready(self, name: str) -> bool:
        service = self._running.get(name)
        if service is None:
            return True  # it was told to go meanwhile
        if not service.is_running():
            if self._running.get(name) is not service:
                return True
            self._note_end(name, service)
            self.start(name)
            return False
        try:
            return service.is_ready()
        except AssertionError:
            return False  # it serves no HTTP yet

    def _note_end(self, name: str, service: ReplicaProcess) -> None:
        status = service.wait_for_exit(within_s=1)
        tail = "\n".join(service.log_tail().splitlines()[-TAIL_LINES:])
        self.failures.append(f"{name} ended by itself with status {status}:\n{tail}")
        assert len(self.failures) < MOST_FAILURES, "\n".join(["replicas go on failing", *self.failures])
