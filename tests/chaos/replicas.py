"""Starts and stops the replicas of the service as processes."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from tests.harness.scrape import Scrape
from tests.harness.service import DRIFTGAUGE, ReplicaProcess
from tests.waiting import PATIENCE_S, wait_for

# These replicas run without DRIFTGAUGE_REPLICA, so their transactional ids change at each start.
UNNAMED: Final = ("replica-2", "replica-4")


class Replicas(AbstractContextManager["Replicas"]):
    """The replicas of one configuration; leaving the context kills the running ones.

    Different threads may handle different names. A replica that hangs is aborted, so that its log ends with
    the stack of each of its threads.

    Attributes:
        failures: Unexpected behaviour, such as a replica that exits by itself.
        dead_clients: The replicas that ended because a Kafka client stood still, as they are to do; a
            supervisor restarts them, and so does the run.
    """

    def __init__(
        self,
        config: Path,
        logs: Path,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        program: Sequence[str] = DRIFTGAUGE,
    ) -> None:
        """Start no replica yet.

        Args:
            config: The configuration of all replicas.
            logs: The folder of their logs.
            settings: Environment variables by replica name.
            program: The arguments of Python that start a replica.
        """
        self._config = config
        self._logs = logs
        self._settings = settings or {}
        self._program = program
        self._starts: Counter[str] = Counter()
        self._running: dict[str, ReplicaProcess] = {}
        self.failures: list[str] = []
        self.dead_clients: list[str] = []

    def __exit__(self, *_: object) -> None:
        for service in self._running.values():
            service.kill()

    @property
    def running(self) -> dict[str, ReplicaProcess]:
        """The running processes by name."""
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
            self._record_exit(name, service)
        service.kill()

    def terminate(self, name: str) -> None:
        """Stop a replica with SIGTERM; it must exit with status 0 within a bounded time."""
        service = self._running.pop(name)
        try:
            service.stop()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{name} on SIGTERM: {error}")
            if service.is_running():
                service.abort()

    def wait_until_ready(self) -> None:
        """Wait until all replicas are ready.

        A replica that has exited by itself, or is not ready in time, is recorded as a failure and restarted.
        """
        try:
            wait_for("all replicas", lambda: all(self._is_ready(name) for name in self.running))
        except AssertionError:
            for name, service in self.running.items():
                if not self._is_ready(name) and self._running.get(name) is service:
                    self.failures.append(f"{name} was not ready within {PATIENCE_S:g} s")
                    service.abort()
                    self.start(name)

    def scrapes(self) -> dict[str, Scrape]:
        """Return the metrics of each replica that answers."""
        found = {}
        for name, service in self.running.items():
            with suppress(AssertionError):
                found[name] = service.scrape()
        return found

    def _is_ready(self, name: str) -> bool:
        service = self._running.get(name)
        if service is None:
            return True  # it was stopped meanwhile
        if service.is_running():
            with suppress(AssertionError):  # it does not serve HTTP yet
                return service.is_ready()
        elif self._running.get(name) is service:
            self._record_exit(name, service)
            self.start(name)
        return False

    def _record_exit(self, name: str, service: ReplicaProcess) -> None:
        status = service.wait_for_exit(within_s=1)
        if status == 1 and service.has_dead_client:
            self.dead_clients.append(f"{name} ended with status 1")
            return
        tail = "\n".join(service.log_tail().splitlines()[-5:])
        self.failures.append(f"{name} exited by itself with status {status}:\n{tail}")
        if len(self.failures) >= 10:
            raise RuntimeError("\n".join(["replicas keep failing", *self.failures]))
