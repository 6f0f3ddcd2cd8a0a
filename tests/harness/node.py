"""A Kafka node of the tests: one process of plain `java`, KRaft, loopback only."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.jars import HERE
from tests.waiting import PATIENCE_S

LOG4J: Final = HERE / "log4j2.properties"

HOST: Final = "127.0.0.1"
# Below the range of client ports on Linux and macOS, so that no client takes the port of a stopped broker.
PORTS: Final = range(20_000, 32_000)

STOP_TIMEOUT_S: Final = 60.0
LOG_TAIL_LINES: Final = 40


class NodeError(Exception):
    """The broker did not start although all requirements are met; the message ends with its log."""


class PortTakenError(NodeError):
    """Another process listens on the broker's port."""


class Node:
    """One node. Between `stop` or `kill` and `start` it keeps its ports and its data.

    `bootstrap` is the address for clients, None for a node that is only a controller.
    """

    def __init__(
        self, number: int, folder: Path, jvm: Sequence[str], cluster_id: str, bootstrap: str | None
    ) -> None:
        self.number = number
        self.bootstrap = bootstrap
        self._folder = folder
        self._jvm = jvm
        self._cluster_id = cluster_id
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The folder of its logs, with one folder per partition."""
        return self._folder / "data"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id. Raises NodeError if the node does not run."""
        if self._process is None or not self.running:
            raise NodeError(f"Node {self.number} does not run: start it first.")
        return self._process.pid

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Returns the last lines of the node's log."""
        log = self._folder / "broker.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def format(self, settings: Mapping[str, str | int]) -> None:
        """Formats the node's empty folder for these settings. Raises NodeError."""
        self._folder.mkdir()
        lines = [f"{name}={value}\n" for name, value in {**settings, "log.dirs": self.data}.items()]
        self._properties.write_text("".join(lines))
        command = [*self._jvm, "kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id]
        result = subprocess.run(
            [*command, "--config", str(self._properties)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if result.returncode != 0:
            raise NodeError(
                f"Formatting the storage of node {self.number} failed with code {result.returncode}; its "
                f"settings come from nodes.py. It said:\n{result.stdout}"
            )

    def launch(self) -> None:
        """Starts the process without waiting for its answer."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._jvm, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # Ctrl-C must reach only the tests, which then stop the node.
                start_new_session=True,
            )

    def await_answer(self) -> None:
        """Waits until the node answers clients as a broker of its cluster.

        Clients cannot reach a controller, so the method does not wait for a node that is only a controller.
        Raises PortTakenError if its port is in use, NodeError if it exits or does not answer in five minutes.
        """
        deadline = time.monotonic() + PATIENCE_S
        while self.bootstrap is not None and not self._answers(self.bootstrap):
            if self._process is None or self._process.poll() is not None:
                code = None if self._process is None else self._process.returncode
                self._raise_start_failure(f"exited with code {code}")
            if time.monotonic() > deadline:
                self._raise_start_failure(f"did not answer within {PATIENCE_S:.0f} s")
            time.sleep(0.05)

    def start(self) -> None:
        """Starts the node on its ports and its data, and waits for its answer, as `await_answer` does."""
        self.launch()
        self.await_answer()

    def stop(self) -> None:
        """Stops the node (SIGTERM, after 60 s SIGKILL). Keeps the data."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kills the node (SIGKILL), like a crash, paused or not. Keeps the data."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stops the node if it runs, and starts it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Suspends the process (SIGSTOP): its connections stay open without answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a paused process (SIGCONT)."""
        self._signal(signal.SIGCONT)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _signal(self, number: int) -> None:
        if self._process is None or not self.running:
            raise NodeError(f"Node {self.number} does not run: start it first.")
        self._process.send_signal(number)

    def _answers(self, address: str) -> bool:
        # A new client knows no other node of the cluster that could answer instead.
        client = AdminClient(
            {
                "bootstrap.servers": address,
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

    def _raise_start_failure(self, what: str) -> NoReturn:
        self.kill()
        if "Address already in use" in self.log_tail(lines=200):
            raise PortTakenError(
                f"Another process listens on the broker's port, {self.bootstrap}, or on its "
                "controller's: end that process or choose another port."
            )
        raise NodeError(f"Node {self.number} at {self.bootstrap} {what}. Its log ends:\n{self.log_tail()}")


def free_ports(count: int) -> list[int]:
    """Returns different loopback ports on which no process listens. Raises NodeError."""
    found: list[int] = []
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise NodeError(f"No {count} free ports on {HOST} from {PORTS.start} to {PORTS.stop - 1}.")
