"""A process of `driftgauge serve` or `driftgauge page`: start, scrape, wait, stop, kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final

from driftgauge.config import ENV_PREFIX
from tests.harness.scrape import Scrape
from tests.processes import Completed, run_command
from tests.waiting import PATIENCE_S, wait_for

DRIFTGAUGE = ("-m", "driftgauge")
REQUEST_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 120.0
TAIL_LINES = 30
# What the service writes last where one of its Kafka clients has deadlocked (librdkafka issue 5476).
OF_DEAD_CLIENT: Final = ("a Kafka client is dead, so the process ends", "\nTimeout (0:01:00)!\n")
PATHS = ("/metrics", "/livez", "/readyz", "/", "/api/v1/streams", "/api/v1/windows", "/api/v1/openapi.json")
NO_CHAIN_FAULTS = {"gap": 0, "overlap": 0, "orphans": 0}
STOPPED = "shard stopped; the others go on"


def environment() -> dict[str, str]:
    """Return the environment of this process without variables that override the configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}


def driftgauge(*arguments: str | Path, timeout_s: float = PATIENCE_S) -> Completed:
    """Run a command of the command line to its end; its status is not checked."""
    return run_command(sys.executable, *DRIFTGAUGE, *arguments, env=environment(), timeout=timeout_s)


class DeadClientError(Exception):
    """A Kafka client of the service deadlocked, so the service ended, as it should; the test is repeated."""


class ReplicaProcess(AbstractContextManager["ReplicaProcess"]):
    """One run of the service; the context kills the process when it ends.

    The configuration must set `http.port` to 0.
    """

    def __init__(
        self,
        config: Path,
        log: Path,
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] = DRIFTGAUGE,
        role: str | None = "all",
    ) -> None:
        """Start the service.

        Args:
            config: The configuration file.
            log: The file of its log.
            settings: Environment variables, which override the configuration.
            program: Python's arguments that name the program.
            role: The value of `--role`; None for the page alone.
        """
        self._log = log
        command = ["page"] if role is None else ["serve", "--role", role]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, *command, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(), **(settings or {})},
            )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if exc is not None:
            exc.add_note(f"{self._log} ends with:\n{self.log_tail()}")
            if self.has_dead_client:
                raise DeadClientError(self._log.name) from exc

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @cached_property
    def port(self) -> int:
        """The HTTP port, read from the log."""
        return self._port_of("http")

    @cached_property
    def health_port(self) -> int:
        """The port of `/livez` and `/readyz`, read from the log."""
        return self._port_of("health")

    def _port_of(self, server: str) -> int:
        return int(str(self.wait_for_log(f"{server} server started")["port"]))

    @property
    def log_text(self) -> str:
        """The whole log."""
        return self._log.read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, object]]:
        """Return the log's entries with this message."""
        # The last line may be incomplete.
        lines = self.log_text.split("\n")[:-1]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    @property
    def has_dead_client(self) -> bool:
        """Whether the process has ended because of a Kafka client."""
        return not self.is_running() and any(mark in self.log_text for mark in OF_DEAD_CLIENT)

    def log_tail(self) -> str:
        """Return the last lines, those of other packages in stacks left out."""
        lines = [line for line in self.log_text.splitlines() if "  File " not in line or "driftgauge" in line]
        return "\n".join(lines[-TAIL_LINES:])

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of one request."""
        port = self.health_port if path in {"/livez", "/readyz"} else self.port
        with closing(HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)) as connection:
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            except (OSError, HTTPException) as error:
                raise AssertionError(f"{path} was not answered: {error!r}\n{self.log_tail()}") from error

    def shown(self) -> str:
        """Return all that a stranger may see of the process: its answers, its log, its command line."""
        answers = [str(self.get(path)) for path in PATHS]
        command = Path(f"/proc/{self.pid}/cmdline")
        return "\n".join([*answers, self.log_text, command.read_text() if command.exists() else ""])

    def scrape(self) -> Scrape:
        status, text = self.get("/metrics")
        assert status == 200, text
        return Scrape.parse(text)

    def counted(self, stream: str | None = None) -> int:
        """Return the number of events that this process has counted, of one stream or all."""
        return int(self.scrape().total("driftgauge_events_total", stream=stream))

    def assigned_partitions(self) -> int:
        """Return the number of assigned partitions of events topics."""
        return self._assigned(are_shards=False)

    def assigned_shards(self) -> int:
        """Return the number of assigned shards."""
        return self._assigned(are_shards=True)

    def _assigned(self, *, are_shards: bool) -> int:
        return sum(
            int(value)
            for (name, labels), value in self.scrape().samples.items()
            if name == "driftgauge_consumer_assigned_partitions"
            and (".partials." in dict(labels)["topic"]) == are_shards
        )

    def chain_faults(self) -> dict[str, int]:
        """Return the numbers of gaps, overlaps and orphans in the partials of the assigned shards."""
        scrape = self.scrape()
        return {
            reason: int(scrape.total("driftgauge_partials_faults_total", reason=reason))
            for reason in NO_CHAIN_FAULTS
        }

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def wait_until_ready(self, *, within_s: float = PATIENCE_S) -> None:
        self.wait_for("the service to be ready", self.is_ready, within_s=within_s)

    def wait_for(
        self, condition: str | Callable[[], str], is_met: Callable[[], bool], *, within_s: float = PATIENCE_S
    ) -> None:
        """Poll until the condition is met; fail if the service ends before."""

        def is_met_alive() -> bool:
            status = self._process.poll()
            what = condition if isinstance(condition, str) else "the condition"
            assert status is None, f"the service ended with status {status} before {what}"
            return is_met()

        wait_for(condition, is_met_alive, within_s=within_s)

    def wait_for_log(self, event: str) -> dict[str, object]:
        """Wait for an entry of the log with this message, and return the first one."""
        self.wait_for(f"{event!r} in its log", lambda: bool(self.logged(event)))
        return self.logged(event)[0]

    def wait_for_exit(self, *, within_s: float) -> int:
        """Wait for the end of the process; return its exit status."""
        return self._process.wait(within_s)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> float:
        """Send SIGTERM and wait for exit status 0; return the seconds between."""
        assert self.is_running(), f"the service has ended already, with status {self._process.returncode}"
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(STOP_TIMEOUT_S)
        elapsed = time.monotonic() - started
        assert status == 0, f"the service ended with status {status}"
        return elapsed

    def pause(self) -> None:
        """Suspend the process (SIGSTOP) until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused process (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def abort(self) -> None:
        """Send SIGABRT; with PYTHONFAULTHANDLER set, the log ends with the stack of each thread."""
        self._process.send_signal(signal.SIGABRT)
        self._process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the process (SIGKILL), like a crash, if it runs."""
        self._process.kill()
        self._process.wait()
