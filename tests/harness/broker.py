"""A real Apache Kafka broker for the tests: one process, KRaft, plain `java -cp`, loopback only.

Maven fetches the jars once per version; the data is in a temporary folder. tests/kafka/README.md has
the measurements. To run a broker by hand:

    python -m tests.harness.broker --port 9092
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from tests.harness.by_hand import serve_by_hand
from tests.harness.jars import kafka_version
from tests.harness.node import Node
from tests.harness.nodes import COMBINED, KafkaCluster
from tests.harness.process import LOG_TAIL_LINES, ServerError


class Broker:
    """A cluster of one node. Between `stop` or `kill` and `restart` it keeps its ports and its data.

    `port` is the clients' port; None takes a free one. `settings` and `version` are as in KafkaCluster.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
        version: str | None = None,
    ) -> None:
        self._cluster = KafkaCluster([COMBINED], settings=settings, version=version, port=port, heap_mib=256)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """`host:port`; empty until the first start."""
        return self._cluster.bootstrap

    address = bootstrap

    @property
    def data(self) -> Path:
        """The folder of its logs, with one folder per partition."""
        return self._node.data

    @property
    def running(self) -> bool:
        return any(node.running for node in self._cluster.nodes.values())

    @property
    def pid(self) -> int:
        """The process id. Raises ServerError if the broker does not run."""
        return self._node.pid

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Returns the last lines of the broker's log since the first start."""
        return self._node.log_tail(lines)

    def start(self) -> None:
        """Starts without data, as `KafkaCluster.start` does."""
        self._cluster.start()

    def stop(self) -> None:
        """Stops the broker (SIGTERM, after 20 s SIGKILL). Keeps the data."""
        self._node.stop()

    def kill(self) -> None:
        """Kills the broker (SIGKILL), like a crash. Keeps the data."""
        self._node.kill()

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same ports and the same data."""
        self._node.restart()

    def close(self) -> None:
        """Kills the broker and deletes its data."""
        self._cluster.close()

    @property
    def _node(self) -> Node:
        if not self._cluster.nodes:
            raise ServerError("The broker was not started: call start() first.")
        return self._cluster.nodes[1]


def main() -> None:
    """Serves one broker in the foreground."""
    parser = argparse.ArgumentParser(description="Serve a Kafka broker on the loopback interface.")
    parser.add_argument("--port", type=int, default=9092, help="0 takes a free one (default: 9092)")
    parser.add_argument("--version", help=f"of Kafka (default: {kafka_version()})")
    arguments = parser.parse_args()
    serve_by_hand("broker", lambda: Broker(arguments.port or None, version=arguments.version))


if __name__ == "__main__":
    main()
