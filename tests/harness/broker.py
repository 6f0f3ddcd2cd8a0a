"""A real Apache Kafka broker for the tests: one process, KRaft, plain `java -cp`, loopback only.

Maven fetches the jars once per version; the data is in a temporary folder. tests/kafka/README.md has
the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.harness.nodes import COMBINED, KafkaCluster


class Broker(KafkaCluster):
    """A cluster of one node. Between `stop` and `restart` it keeps its ports and its data.

    `port` is the clients' port; None takes a free one. `settings` and `version` are as in KafkaCluster.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
        version: str | None = None,
    ) -> None:
        super().__init__([COMBINED], settings=settings, version=version, port=port, heap_mib=256)

    @property
    def data(self) -> Path:
        """The folder of its logs, with one folder per partition."""
        return self.nodes[1].data

    @property
    def running(self) -> bool:
        return self.nodes[1].running

    def log_tail(self) -> str:
        return self.nodes[1].log_tail()

    def stop(self) -> None:
        """Stops the broker (SIGTERM, after 60 s SIGKILL). Keeps the data."""
        self.nodes[1].stop()

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same ports and the same data."""
        self.nodes[1].restart()
