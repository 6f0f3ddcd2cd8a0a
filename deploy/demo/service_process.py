"""The real service as a child process: start, HTTP requests, stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from deploy.demo.errors import DemoError
from deploy.demo.scrape import Scrape

from driftgauge.config import ENV_PREFIX

__all__ = ["ServiceProcess"]

_HOST = "127.0.0.1"
# Starting takes about a second, joining the group three, closing a day one and the last day six.
_WAIT_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.05
_REQUEST_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 10.0
_EXIT_TIMEOUT_S = 2.0
_TAIL_LINES = 10

_Found = TypeVar("_Found")


class ServiceProcess:
    """A context manager that runs `driftgauge serve`; `http.port` in its configuration is 0."""

    def __init__(self, config: Path, log: Path, stopping: threading.Event) -> None:
        self._config = config
        self._log = log
        self._stopping = stopping
        self._port = self._health_port = 0

    def __enter__(self) -> "ServiceProcess":
        """Start the service and wait until it serves HTTP.

        Raises:
            DemoError: The service did not start.
        """
        # A variable meant for the user's own service could point this one at another broker.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "driftgauge", "serve", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )
        try:
            self._health_port, self._port = (
                self.wait_for(
                    "the service to serve HTTP",
                    partial(self._logged_port, server),
                    lambda: "no port in its log",
                )
                for server in ("health", "http")
            )
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the service by SIGTERM.

        Raises:
            DemoError: The service did not stop in time, or not with status 0; not raised over another error.
        """
        status = self._stop()
        # Ctrl-C reaches the service too. SIGTERM may then reach an interpreter that is ending and has
        # restored the default handler.
        if exc is None and status not in {0, -signal.SIGTERM}:
            how = "did not end" if status is None else f"ended with status {status}, not 0,"
            message = f"the service {how} within {_STOP_TIMEOUT_S:g} s of SIGTERM; {self._tail()}"
            raise DemoError(message)

    @property
    def url(self) -> str:
        """The URL of the metrics."""
        return f"http://{_HOST}:{self._port}/metrics"

    @property
    def address(self) -> str:
        """Host and port, as a Prometheus target has them."""
        return f"{_HOST}:{self._port}"

    def scrape(self) -> Scrape:
        """Return a scrape of /metrics.

        Raises:
            DemoError: The service did not answer.
        """
        status, text = self._get("/metrics", self._port)
        if status != 200:  # noqa: PLR2004
            message = f"{self.url} answered with status {status}; {self._tail()}"
            raise DemoError(message)
        return Scrape.parse(text)

    def wait_until_ready(self) -> None:
        """Wait until /readyz reports both roles ready.

        Raises:
            DemoError: The service was not ready in time, or ended.
        """

        def ready() -> bool | None:
            return self._get("/readyz", self._health_port)[0] == 200 or None  # noqa: PLR2004

        self.wait_for("the service to be ready", ready, lambda: self._get("/readyz", self._health_port)[1])

    def wait_for(
        self, awaited: str, look: Callable[[], _Found | None], describe: Callable[[], str]
    ) -> _Found:
        """Call `look` until it returns a value other than None, and return that value.

        Raises:
            DemoError: No value came in time, or the service ended.
        """
        deadline_s = time.monotonic() + _WAIT_TIMEOUT_S
        while time.monotonic() < deadline_s:
            self.check()
            found = look()
            if found is not None:
                return found
            time.sleep(_POLL_INTERVAL_S)
        message = f"waited {_WAIT_TIMEOUT_S:g} s for {awaited}; last seen: {describe()}; {self._tail()}"
        raise DemoError(message)

    def check(self) -> None:
        """Raise unless the service is running and the demo goes on.

        A signal handler must not raise: an exception within a call of a Kafka client would be lost.

        Raises:
            DemoError: The service has ended.
            KeyboardInterrupt: A signal asked the demo to stop.
        """
        if self._stopping.is_set():
            raise KeyboardInterrupt
        status = self._process.poll()
        if status is not None:
            message = f"the service ended with status {status}; {self._tail()}"
            raise DemoError(message)

    def _logged_port(self, server: str) -> int | None:
        # The last piece is an incomplete line, or empty.
        for line in self._log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            if f'"{server} server started"' in line:
                return int(json.loads(line)["port"])
        return None

    def _get(self, path: str, port: int) -> tuple[int, str]:
        connection = HTTPConnection(_HOST, port, timeout=_REQUEST_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException) as error:
            # A service that ends closes its port before it logs why.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_TIMEOUT_S)
            self.check()
            message = f"http://{_HOST}:{port}{path} does not answer ({error!r}); {self._tail()}"
            raise DemoError(message) from error
        finally:
            connection.close()

    def _stop(self) -> int | None:
        """Stop the process; return its status, None if it had to be killed."""
        try:
            self._process.terminate()
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return f"{self._log} ends with:" + "".join(f"\n    {line}" for line in lines)
