"""A Kafka node of the tests: one process of plain `java`, KRaft, loopback only."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.process import ServerError, ServerProcess
from tests.processes import run_command

LOG4J: Final = Path(__file__).with_name("log4j2.properties")

HOST: Final = "127.0.0.1"
# Below the range of client ports on Linux and macOS, so that no client takes the port of a stopped broker.
PORTS: Final = range(20_000, 32_000)


class Node(ServerProcess):
    """One node.

    `bootstrap` is the address for clients, None for a node that is only a controller.
    """

    def __init__(
        self, number: int, folder: Path, jvm: Sequence[str], cluster_id: str, bootstrap: str | None
    ) -> None:
        self.number = number
        self.bootstrap = bootstrap
        self._jvm = jvm
        self._cluster_id = cluster_id
        self._properties = folder / "server.properties"
        command = [*jvm, "kafka.Kafka", str(self._properties)]
        super().__init__(f"Node {number} at {bootstrap}", command, folder)

    @property
    def data(self) -> Path:
        """The folder of its logs, with one folder per partition."""
        return self._folder / "data"

    def format(self, settings: Mapping[str, str | int]) -> None:
        """Formats the node's empty folder for these settings. Raises ServerError."""
        self._folder.mkdir()
        lines = [f"{name}={value}\n" for name, value in {**settings, "log.dirs": self.data}.items()]
        self._properties.write_text("".join(lines))
        command = [*self._jvm, "kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id]
        done = run_command(*command, "--config", self._properties)
        if done.returncode != 0:
            raise ServerError(
                f"Formatting the storage of node {self.number} failed with code {done.returncode}; its "
                f"settings come from broker.py. It said:\n{done.stdout}{done.stderr}"
            )

    def _answers(self) -> bool:
        if self.bootstrap is None:
            return True  # clients cannot reach a controller
        # A new client knows no other node of the cluster that could answer instead.
        client = AdminClient(
            {
                "bootstrap.servers": self.bootstrap,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,  # refused connections are expected
            }
        )
        try:
            metadata = client.list_topics(timeout=1.0)
        except KafkaException:
            return False  # not listening yet
        # A process that took the port may answer before the node fails.
        return metadata.cluster_id == self._cluster_id and self.number in metadata.brokers


def free_ports(count: int) -> list[int]:
    """Returns different loopback ports on which no process listens."""
    return [port for port in random.sample(PORTS, 100) if _is_free(port)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
