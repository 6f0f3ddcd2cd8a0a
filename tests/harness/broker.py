"""A real Apache Kafka for the tests: clusters of one or more nodes, KRaft, plain `java -cp`, loopback only.

Maven fetches the jars once per version; the data is in a temporary folder. tests/kafka/README.md has
the measurements. Two nodes, of which only the first is a controller:

    with KafkaCluster([COMBINED, BROKER]) as cluster:
        cluster.nodes[2].stop()

Three nodes, of which any one may fail:

    with KafkaCluster([COMBINED] * 3, replication=3, min_insync=2) as cluster:
        cluster.nodes[1].kill()
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.harness.jars import POM, fetch, fetch_jars, find_java, kafka_version
from tests.harness.node import HOST, LOG4J, Node, free_ports

BROKER: Final = "broker"
CONTROLLER: Final = "controller"
COMBINED: Final = "broker,controller"

# Loading the classes of a node from an archive (JEP 350) halves the processor time of its start.
ARCHIVE: Final = "kafka.jsa"

SETTINGS: Final[Mapping[str, str | int]] = {
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "num.partitions": 4,
    # The default is fifty partitions each, all of which a start loads.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    # Tests wait for joins, lost members, dead transactions and compaction, so these are short. The search for
    # dead transactions must not be shorter: tests/kafka/README.md, "A transaction that hangs".
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1_000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 5_000,
    # A killed broker restarts only when its old registration has expired: 9 s by default.
    "broker.session.timeout.ms": 3_000,
    "broker.heartbeat.interval.ms": 500,
    "log.cleaner.backoff.ms": 500,
    # The default is 128 MiB, half of the heap.
    "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
}


class KafkaCluster:
    """A cluster of nodes.

    Attributes:
        nodes: The nodes by number, from 1, in the order of their roles; empty while the cluster is down.
        bootstrap: The addresses of all its brokers, for `bootstrap.servers`.
    """

    def __init__(
        self,
        roles: Sequence[str],
        *,
        replication: int = 1,
        min_insync: int = 1,
        settings: Mapping[str, str | int] | None = None,
        version: str | None = None,
        port: int | None = None,
        heap_mib: int = 160,
    ) -> None:
        """Describe a cluster; `start` starts it.

        Args:
            roles: BROKER, CONTROLLER or COMBINED for each node.
            replication: The replicas of topics, internal ones too, unless a topic says otherwise.
            min_insync: How many of them a write needs, unless a topic says otherwise.
            settings: Further settings of all nodes, which override the settings here; `listeners` are added.
            version: The version of Kafka; None uses the one of pom.xml.
            port: The clients' port of the first node; None uses a free one.
            heap_mib: The Java heap of each node.
        """
        self._roles = roles
        self._settings: dict[str, str | int] = {
            **SETTINGS,
            "default.replication.factor": replication,
            "min.insync.replicas": min_insync,
            "offsets.topic.replication.factor": replication,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": min_insync,
            "share.coordinator.state.topic.replication.factor": replication,
            "share.coordinator.state.topic.min.isr": min_insync,
            **(settings or {}),
        }
        self._version = version
        self._port = port
        self._heap_mib = heap_mib
        self._folder: Path | None = None
        # Kafka requires 22 characters of base64url; hexadecimal ones never start with "-" like an option.
        self._cluster_id = secrets.token_hex(11)
        self.nodes: dict[int, Node] = {}
        self.bootstrap = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts all nodes without data, deletes earlier data, and waits until the nodes answer.

        Raises BrokerUnavailable without Java, Maven or the jars, ServerError if a node exits, as it does
        where its port is in use, or does not answer in five minutes.
        """
        java, jars = find_java(), fetch_jars(self._version)
        name = f"classes-{self._version or kafka_version()}"
        classes = fetch(name, POM, lambda folder: _record_classes(folder, java, jars))
        self._run([java, f"-XX:SharedArchiveFile={classes / ARCHIVE}"], jars)

    def _run(self, java: Sequence[str], jars: Path) -> None:
        self.close()
        jvm = [
            *java,
            f"-Xmx{self._heap_mib}m",
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={LOG4J}"),
            *("-cp", f"{jars}/*"),
        ]
        try:
            self._start_nodes(jvm)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kills all nodes and deletes their data."""
        for node in self.nodes.values():
            node.kill()
        self.nodes = {}
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start_nodes(self, jvm: Sequence[str]) -> None:
        count = len(self._roles)
        ports = free_ports(2 * count)
        clients, controllers = ports[:count], ports[count:]
        clients[0] = self._port or clients[0]
        voters = ",".join(
            f"{number}@{HOST}:{port}"
            for number, (role, port) in enumerate(zip(self._roles, controllers, strict=True), 1)
            if CONTROLLER in role
        )
        further = [str(self._settings["listeners"])] if "listeners" in self._settings else []
        self._folder = Path(tempfile.mkdtemp(prefix="driftgauge-kafka-"))
        for number, role in enumerate(self._roles, 1):
            listeners = {
                BROKER: f"PLAINTEXT://{HOST}:{clients[number - 1]}",
                CONTROLLER: f"CONTROLLER://{HOST}:{controllers[number - 1]}",
            }
            bootstrap = f"{HOST}:{clients[number - 1]}" if BROKER in role else None
            node = Node(number, self._folder / str(number), jvm, self._cluster_id, bootstrap)
            node.format(
                {
                    **self._settings,
                    "node.id": number,
                    "process.roles": role,
                    "listeners": ",".join([*(listeners[part] for part in role.split(",")), *further]),
                    "controller.quorum.voters": voters,
                }
            )
            self.nodes[number] = node
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes.values() if node.bootstrap)
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.await_answer()


def _record_classes(folder: Path, java: str, jars: Path) -> None:
    """Creates a folder with the archive of the classes that a node loads; the JVM writes it as it ends."""
    folder.mkdir()
    cluster = KafkaCluster([COMBINED])
    try:
        cluster._run([java, f"-XX:ArchiveClassesAtExit={folder / ARCHIVE}"], jars)
        cluster.nodes[1].stop()
    finally:
        cluster.close()


class Broker(KafkaCluster):
    """A cluster of one node, which keeps its ports and its data between `stop` and `restart`.

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
    def node(self) -> Node:
        """The node."""
        return self.nodes[1]
