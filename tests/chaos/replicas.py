"""The replicas of the service as processes: each name has one at a time, which others may follow."""

import subprocess
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from tests.integration.service import Service

READY_S = 60.0
LOOK_EVERY_S = 0.1
TAIL_LINES = 5


class Replicas:
    """The replicas of one configuration; leaving the context kills what still runs.

    Different names may be handled by different threads. One that hangs is ended in a way that
    leaves in its log where each of its threads stood.

    Attributes:
        failures: What no replica should have done, such as ending by itself.
    """

    def __init__(self, config: Path, logs: Path) -> None:
        self._config = config
        self._logs = logs
        self._starts: Counter[str] = Counter()
        self._running: dict[str, Service] = {}
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
    def running(self) -> dict[str, Service]:
        """The process of each name."""
        return dict(sorted(self._running.items()))

    def start(self, name: str) -> Service:
        self._starts[name] += 1
        log = self._logs / f"{name}.{self._starts[name]}.log"
        self._running[name] = Service(
            self._config, log, {"DRIFTGAUGE_REPLICA": name, "PYTHONFAULTHANDLER": "1"}
        )
        return self._running[name]

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

        One that has ended by itself, or is not ready within the bound, is a failure and started anew.
        """
        deadline = time.monotonic() + READY_S
        while waiting := [name for name in self._running if not self._is_ready(name)]:
            if time.monotonic() > deadline:
                for name in waiting:
                    self.failures.append(f"{name} was not ready within {READY_S:g} s")
                    self._running[name].abort()
                    self.start(name)
                return
            time.sleep(LOOK_EVERY_S)

    def _is_ready(self, name: str) -> bool:
        service = self._running[name]
        if not service.is_running():
            self._note_end(name, service)
            self.start(name)
            return False
        try:
            return service.is_ready()
        except AssertionError:
            return False  # it serves no HTTP yet

    def _note_end(self, name: str, service: Service) -> None:
        status = service.wait_for_exit(within_s=1)
        tail = "\n".join(service.log_tail().splitlines()[-TAIL_LINES:])
        self.failures.append(f"{name} ended by itself with status {status}:\n{tail}")
