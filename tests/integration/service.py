"""The real `driftgauge serve` as a process: started, scraped, awaited, stopped, killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType

from deploy.demo.scrape import Scrape

from driftgauge.config import ENV_PREFIX

DRIFTGAUGE = ("-m", "driftgauge")
PATIENCE_S = 300.0
LOOK_EVERY_S = 0.05
REQUEST_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 30.0
TAIL_LINES = 30


def environment() -> dict[str, str]:
    """This process's environment without what would override the configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}


def driftgauge(*arguments: str | Path, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line to its end, whatever its status."""
    return subprocess.run(
        [sys.executable, "-m", "driftgauge", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=timeout_s,
    )


def wait_for(what: str, look: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + within_s
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s for {what}")
        time.sleep(LOOK_EVERY_S)


class ServiceProcess:
    """One run of the service, its configuration's `http.port` being 0; a context manager.

    Leaving the context kills what still runs.
    """

    def __init__(
        self,
        config: Path,
        log: Path,
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] = DRIFTGAUGE,
        role: str = "all",
    ) -> None:
        """Start it.

        Args:
            config: The configuration.
            log: Where its log goes.
            settings: Environment variables, laid over the configuration.
            program: What Python runs in place of `driftgauge`.
            role: The roles that it serves.
        """
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, "serve", "--config", str(config), "--role", role],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(), **(settings or {})},
            )
        self._port: int | None = None

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if exc is not None:
            exc.add_note(f"{self._log} ends with:\n{self.log_tail()}")

    @property
    def port(self) -> int:
        """The port it serves, read from its log."""
        if self._port is None:
            self.wait_for("the service to serve HTTP", lambda: bool(self.logged("http server started")))
            self._port = int(str(self.logged("http server started")[0]["port"]))
        return self._port

    def logged(self, event: str) -> list[dict[str, object]]:
        """The log's entries with this message."""
        # The last piece has no end yet, or is empty.
        lines = self._log.read_text(errors="replace").split("\n")[:-1]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException) as error:
            raise AssertionError(f"{path} was not answered: {error!r}\n{self.log_tail()}") from error
        finally:
            connection.close()

    def scrape(self) -> Scrape:
        status, text = self.get("/metrics")
        assert status == 200, text
        return Scrape.parse(text)

    def counted(self, stream: str | None = None) -> int:
        """Events that this process has counted, of one stream or all."""
        return self.outcomes("accepted", stream)

    def outcomes(self, outcome: str, stream: str | None = None) -> int:
        """Events that met this outcome, of one stream or all."""
        return sum(
            int(value)
            for (name, labels), value in self.scrape().samples.items()
            if name == "driftgauge_events_total"
            and dict(labels)["outcome"] == outcome
            and stream in (None, dict(labels)["stream"])
        )

    def assigned_partitions(self) -> int:
        """How many partitions of events topics it holds."""
        return sum(number for topic, number in self._assigned().items() if ".partials." not in topic)

    def assigned_shards(self) -> int:
        """How many shards it holds."""
        return sum(number for topic, number in self._assigned().items() if ".partials." in topic)

    def _assigned(self) -> dict[str, int]:
        return {
            dict(labels)["topic"]: int(value)
            for (name, labels), value in self.scrape().samples.items()
            if name == "driftgauge_consumer_assigned_partitions"
        }

    def late(self, stream: str | None = None, window: str | None = None) -> int:
        """Late events, of one stream and window size or all, as the owner of the shard shows them."""
        return sum(
            int(value)
            for (name, labels), value in self.scrape().samples.items()
            if name == "driftgauge_late_events_total"
            and stream in (None, dict(labels)["stream"])
            and window in (None, dict(labels)["window"])
        )

    def chain(self) -> dict[str, int]:
        """What the chains of the shards held have found: gaps, overlaps and orphans."""
        found: dict[str, int] = {"gap": 0, "overlap": 0, "orphans": 0}
        for (name, _), value in self.scrape().samples.items():
            if name.startswith("driftgauge_partials_") and name.endswith("_total"):
                found[name.removeprefix("driftgauge_partials_").removesuffix("_total")] += int(value)
        return found

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def wait_until_ready(self, *, within_s: float = PATIENCE_S) -> None:
        self.wait_for("the service to be ready", self.is_ready, within_s=within_s)

    def wait_for(self, what: str, look: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
        """Look again and again until it is so; the service must go on running meanwhile."""

        def alive_and_so() -> bool:
            status = self._process.poll()
            assert status is None, f"the service ended with status {status} before {what}"
            return look()

        wait_for(what, alive_and_so, within_s=within_s)

    def wait_for_exit(self, *, within_s: float) -> int:
        """Return its exit status."""
        return self._process.wait(within_s)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> float:
        """Ask it to end by SIGTERM, which it must heed with status 0; return the seconds it took."""
        assert self.is_running(), f"it has ended already, with status {self._process.returncode}"
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(STOP_TIMEOUT_S)
        elapsed = time.monotonic() - started
        assert status == 0, f"it ended with status {status}"
        return elapsed

    def pause(self) -> None:
        """Let it stand still (SIGSTOP) until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT) as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    def abort(self) -> None:
        """End it by SIGABRT; where PYTHONFAULTHANDLER is set it first logs where each thread stands."""
        self._process.send_signal(signal.SIGABRT)
        self._process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), where it still runs."""
        self._process.kill()
        self._process.wait()
