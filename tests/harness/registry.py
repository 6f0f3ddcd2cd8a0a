"""A real schema registry for the tests: Apicurio Registry, one process, loopback only."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from tests.harness.jars import HERE, fetch, find_java, run_maven
from tests.harness.node import HOST, LOG_TAIL_LINES, STOP_TIMEOUT_S, NodeError, free_ports

POM: Final = HERE / "registry-pom.xml"
API: Final = "/apis/ccompat/v7"
START_TIMEOUT_S: Final = 120.0


class Registry:
    """A schema registry. Between `stop` and `start` it keeps its port and its schemas.

    `url` is the address of its Confluent-compatible API.
    """

    def __init__(self) -> None:
        java = find_java()
        app = fetch("registry", POM, _unpack)
        (jar,) = app.glob("*-runner.jar")
        self._folder = tempfile.TemporaryDirectory(prefix="driftgauge-registry-")
        (port,) = free_ports(1)
        self.url = f"http://{HOST}:{port}{API}"
        self._command = [
            *(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *(f"-Dquarkus.http.host={HOST}", f"-Dquarkus.http.port={port}"),
            # In the default database, in memory, schemas would end with the process.
            f"-Dapicurio.datasource.url=jdbc:h2:file:{self._folder.name}/schemas",
            *("-jar", str(jar)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts the process and waits for its answer. Raises NodeError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder.name,
                # Ctrl-C must reach only the tests, which then stop the process.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
                raise NodeError(f"Apicurio Registry at {self.url} does not answer. Its log ends:\n{tail}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stops the process (SIGTERM, after 20 s SIGKILL)."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "registry.log"

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def _unpack(folder: Path) -> None:
    run_maven("the files of Apicurio Registry", POM, folder, ("dependency:unpack",))
