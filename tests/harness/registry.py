"""A real schema registry for the tests: Apicurio Registry, one process, loopback only."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from tests.harness.jars import FOLDER, fetch, find_java, run_maven
from tests.harness.node import HOST, free_ports
from tests.harness.process import ServerProcess

POM: Final = FOLDER / "registry-pom.xml"
API: Final = "/apis/ccompat/v7"


class Registry(ServerProcess):
    """A schema registry, which keeps its schemas over a stop.

    `url` is the address of its Confluent-compatible API; `port` None takes a free one.
    """

    def __init__(self, port: int | None = None) -> None:
        java = find_java()
        what, goal = "the files of Apicurio Registry", ("dependency:unpack",)
        app = fetch("registry", POM, lambda folder: run_maven(what, POM, folder, goal))
        (jar,) = app.glob("*-runner.jar")
        self._temporary = tempfile.TemporaryDirectory(prefix="driftgauge-registry-")
        folder = Path(self._temporary.name)
        port = port or free_ports(1)[0]
        self.url = f"http://{HOST}:{port}{API}"
        command = [
            *(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *(f"-Dquarkus.http.host={HOST}", f"-Dquarkus.http.port={port}"),
            # In the default database, in memory, schemas would end with the process.
            f"-Dapicurio.datasource.url=jdbc:h2:file:{folder}/schemas",
            *("-jar", str(jar)),
        ]
        super().__init__(f"Apicurio Registry at {self.url}", command, folder)

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._temporary.cleanup()

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False
