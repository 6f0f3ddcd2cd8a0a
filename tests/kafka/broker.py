"""A real Apache Kafka node for the tests: one process, KRaft, plain `java -cp`, loopback only.

The jars come from Maven once per version of pom.xml; the data lives in a temporary folder.
README.md beside this file holds what was measured on it. To serve one by hand:

    python tests/kafka/broker.py --port 9092
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

HERE: Final = Path(__file__).resolve().parent
POM: Final = HERE / "pom.xml"
LOG4J: Final = HERE / "log4j2.properties"
TARGET: Final = HERE / "target"

HOST: Final = "127.0.0.1"
# Below the range from which Linux and macOS give out ports to clients. A client that retries a
# stopped broker could otherwise get that very port as its own, and the broker could not come back.
PORTS: Final = range(20_000, 32_000)
PORT_ATTEMPTS: Final = 3

MIN_JAVA: Final = 17
MAVEN_TIMEOUT_S: Final = 600.0
FORMAT_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
LOG_TAIL_LINES: Final = 40

JVM_OPTIONS: Final = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={LOG4J}",
)

REMEDY: Final = (
    "Install both with `apt-get install -y maven openjdk-17-jre-headless` (or your system's own "
    "packages), or set DRIFTGAUGE_TEST_BOOTSTRAP=host:port to use a cluster that already runs."
)

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=4
# One node cannot hold the default three replicas: the first group or transaction would hang.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Fifty partitions each by default, all of which a start has to load.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# Tests wait for these, so they are short: joins, lost members, dead transactions, compaction. The
# search for dead transactions must not be shorter: README.md, "A broker that was killed".
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=5000
# A killed broker comes back only when its old registration has run out: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.backoff.ms=500
# 128 MiB by default, half of the heap.
log.cleaner.dedupe.buffer.size=4194304
"""


class BrokerUnavailable(Exception):  # noqa: N818 - a state of the machine, not a fault
    """Java, Maven or the jars cannot be had on this machine; the text says what to do."""


class BrokerError(Exception):
    """Everything needed is there, yet the broker did not come up; the text ends in its log."""


class PortTakenError(BrokerError):
    """Something else listens on a port that the broker was to listen on."""


class Broker:
    """One broker. Between `stop` or `kill` and `restart` it keeps its ports and its data.

    `port` is the clients' port; None takes a free one.
    """

    def __init__(self, port: int | None = None) -> None:
        self._fixed_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self._folder: Path | None = None
        # Kafka wants 22 characters of base64url. Hexadecimal is: it never starts like an option.
        self._cluster_id = secrets.token_hex(11)
        self.bootstrap = ""

    @property
    def data(self) -> Path:
        """Where it keeps its logs, a folder a partition, while there are any."""
        if self._folder is None:
            raise BrokerError("A broker that was not started has no data.")
        return self._folder / "data"

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id, to pause it with a signal. Raises BrokerError when it does not run."""
        if self._process is None or not self.running:
            raise BrokerError(f"The broker at {self.bootstrap} does not run: call restart() first.")
        return self._process.pid

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines that the broker logged since the first start."""
        if self._folder is None:
            return ""
        text = (self._folder / "broker.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def start(self) -> None:
        """Starts with no data, dropping any from before, and returns when the broker answers.

        Raises BrokerUnavailable for want of Java, Maven or the jars, PortTakenError when the given
        port is in use, BrokerError when the broker exits or does not answer in 60 s.
        """
        self.close()
        java = find_java()
        classpath = f"{fetch_jars()}/*"
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start_once([java, *JVM_OPTIONS, "-cp", classpath])
            except PortTakenError:
                # Another process may take a free port before the broker does.
                self.close()
                if self._fixed_port is not None or attempt == PORT_ATTEMPTS:
                    raise
            except BaseException:
                self.close()
                raise
            else:
                return

    def stop(self) -> None:
        """Asks the broker to end (SIGTERM) and after 20 s ends it (SIGKILL). Keeps the data."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Ends the broker at once, as a crash would. Keeps the data."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same ports and the same data."""
        if self._folder is None:
            raise BrokerError("A broker without data cannot restart: call start() first.")
        self.stop()
        self._launch(self._folder)

    def close(self) -> None:
        """Stops the broker and deletes its data."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start_once(self, jvm: list[str]) -> None:
        port, controller_port = free_ports(2)
        port = self._fixed_port or port
        self.bootstrap = f"{HOST}:{port}"
        folder = self._folder = Path(tempfile.mkdtemp(prefix="driftgauge-kafka-"))
        properties = folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(host=HOST, port=port, controller_port=controller_port, data=folder / "data")
        )
        self._command = [*jvm, "kafka.Kafka", str(properties)]
        format_storage(jvm, properties, self._cluster_id)
        self._launch(folder)

    def _launch(self, folder: Path) -> None:
        with (folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                # Ctrl-C is for the tests, which then stop the broker themselves.
                start_new_session=True,
            )
        self._wait_until_it_answers(self._process)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        client = AdminClient(
            {
                "bootstrap.servers": self.bootstrap,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,  # refused connections are expected meanwhile
            }
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._raise_start_failure(f"exited with code {process.returncode}")
            try:
                # Until our broker finds its port taken, whoever took it may answer instead.
                if client.list_topics(timeout=1.0).cluster_id == self._cluster_id:
                    return
            except KafkaException:
                pass  # not listening yet
            time.sleep(0.05)
        self._raise_start_failure(f"did not answer within {START_TIMEOUT_S:.0f} s")

    def _raise_start_failure(self, what: str) -> NoReturn:
        self.kill()
        if "Address already in use" in self.log_tail(lines=200):
            raise PortTakenError(
                f"Another process listens on the broker's port, {self.bootstrap}, or on its "
                "controller's: end that process or choose another port."
            )
        raise BrokerError(f"The broker at {self.bootstrap} {what}. Its log ends:\n{self.log_tail()}")


def find_java() -> str:
    """The path of a Java that can run the broker, JAVA_HOME first. Raises BrokerUnavailable."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    if java is None:
        where = f"below JAVA_HOME={home}" if home else "on the PATH"
        raise BrokerUnavailable(f"The Kafka broker needs Java, and there is none {where}. {REMEDY}")
    result = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    version = re.search(r'version "(\d+)[^"]*"', result.stderr)
    if version is None or int(version[1]) < MIN_JAVA:
        found = version[0] if version else result.stderr.strip()
        raise BrokerUnavailable(
            f"The Kafka broker needs Java {MIN_JAVA} or later, and {java} is {found}. {REMEDY}"
        )
    return java


def fetch_jars() -> Path:
    """The folder of the broker's jars, fetched by Maven when pom.xml is new or has changed.

    The folder is named after the hash of pom.xml and renamed into place when it is whole, so an
    interrupted copy is never used, and a running broker never loses its jars.
    Raises BrokerUnavailable.
    """
    jars = TARGET / f"libs-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    TARGET.mkdir(exist_ok=True)
    with (TARGET / "lock").open("w") as lock:
        # Two test runs share Maven's repository. The wait ends when the other's Maven does.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            partial = TARGET / "libs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            copy_jars(partial)
            partial.rename(jars)
    return jars


def copy_jars(folder: Path) -> None:
    """Lets Maven copy the jars that pom.xml names into `folder`. Raises BrokerUnavailable."""
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailable(
            f"The Kafka broker's jars come from Maven, and there is no mvn on the PATH. {REMEDY}"
        )
    command = [
        *(maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(POM)),
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
    ]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MAVEN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerUnavailable(
            f"Maven did not fetch the Kafka broker's jars within {MAVEN_TIMEOUT_S:.0f} s: check "
            f"the network and run `{' '.join(command)}`."
        ) from None
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-LOG_TAIL_LINES:])
        raise BrokerUnavailable(
            "Maven could not fetch the Kafka broker's jars: check the network, then run "
            f"`{' '.join(command)}`. It said:\n{tail}"
        )


def format_storage(jvm: list[str], properties: Path, cluster_id: str) -> None:
    """Prepares the empty data folder that `properties` names. Raises BrokerError."""
    command = [*jvm, "kafka.tools.StorageTool", "format", "--standalone"]
    command += ["--cluster-id", cluster_id, "--config", str(properties)]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise BrokerError(
            f"Formatting the broker's storage failed with code {result.returncode}; the settings "
            f"are PROPERTIES in {__file__}. It said:\n{result.stdout}"
        )


def free_ports(count: int) -> list[int]:
    """Different loopback ports on which nothing listens now. Raises BrokerError."""
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
    raise BrokerError(f"No {count} free ports on {HOST} from {PORTS.start} to {PORTS.stop - 1}.")


def main() -> None:
    """Serves one broker in the foreground until SIGINT or SIGTERM; its data ends with it."""
    parser = argparse.ArgumentParser(description="Serve a Kafka broker on the loopback interface.")
    parser.add_argument("--port", type=int, default=9092, help="0 takes a free one (default: 9092)")
    port: int = parser.parse_args().port

    def end(signum: int, frame: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one must not stop the cleaning up
        sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        with Broker(port or None) as broker:
            sys.stdout.write(f"{broker.bootstrap}\n")
            sys.stdout.flush()
            sys.stderr.write("The broker serves until Ctrl-C. Its data is deleted then.\n")
            while broker.running:
                time.sleep(0.5)
            sys.exit(f"The broker ended by itself. Its log ends:\n{broker.log_tail()}")
    except (BrokerUnavailable, BrokerError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
