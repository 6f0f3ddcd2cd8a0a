"""A real schema registry for the tests: Apicurio Registry, one process, loopback only.

To run one by hand:

    python -m tests.harness.registry --port 8081
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from tests.harness.by_hand import serve_by_hand
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
        app = fetch("registry", POM, _unpack)
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

    @property
    def address(self) -> str:
        """The address, as `--registry` and `schema_registry.url` take it."""
        return self.url

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def _unpack(folder: Path) -> None:
    run_maven("the files of Apicurio Registry", POM, folder, ("dependency:unpack",))


def main() -> None:
    """Serves one registry in the foreground."""
    parser = argparse.ArgumentParser(description="Serve a schema registry on the loopback interface.")
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one (default: 8081)")
    arguments = parser.parse_args()
    serve_by_hand("registry", lambda: Registry(arguments.port or None))


if __name__ == "__main__":
    main()
