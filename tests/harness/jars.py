"""The Java and the jars of the tests' Kafka nodes; Maven fetches the jars once per version."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "kafka"
POM: Final = FOLDER / "pom.xml"
TARGET: Final = FOLDER / "target"

MIN_JAVA: Final = 17
MAVEN_TIMEOUT_S: Final = 600.0
MAVEN_TAIL_LINES: Final = 40

REMEDY: Final = (
    "Install both with `apt-get install -y maven openjdk-17-jre-headless` (or your system's own "
    "packages), or set TEST_BOOTSTRAP=host:port to use a cluster that already runs."
)


class BrokerUnavailable(Exception):  # noqa: N818 - a state of the machine, not a fault
    """Java, Maven or the jars are missing on this machine; the message names the remedy."""


def kafka_version() -> str:
    """Returns the version of Kafka in pom.xml."""
    (version,) = re.findall(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    return str(version)


def find_java() -> str:
    """Returns the path of a Java that can run the broker, JAVA_HOME first. Raises BrokerUnavailable."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    if java is None:
        where = f"below JAVA_HOME={home}" if home else "on the PATH"
        raise BrokerUnavailable(f"The Kafka broker needs Java, and there is none {where}. {REMEDY}")
    result = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=300, check=False)
    version = re.search(r'version "(\d+)[^"]*"', result.stderr)
    if version is None or int(version[1]) < MIN_JAVA:
        found = version[0] if version else result.stderr.strip()
        raise BrokerUnavailable(
            f"The Kafka broker needs Java {MIN_JAVA} or later, and {java} is {found}. {REMEDY}"
        )
    return java


def fetch_jars(version: str | None = None) -> Path:
    """Returns the folder of the jars of a version of Kafka (None: pom.xml's); fetches missing jars.

    Raises BrokerUnavailable.
    """
    version = version or kafka_version()
    arguments = (f"-Dkafka.version={version}", "dependency:copy-dependencies", "-DincludeScope=runtime")
    what = f"the jars of Kafka {version}"
    return fetch(f"libs-{version}", POM, lambda folder: run_maven(what, POM, folder, arguments))


def fetch(name: str, pom: Path, fill: Callable[[Path], None]) -> Path:
    """Returns a folder of dependencies of a pom.xml; a missing one is filled first.

    The folder's name has the given name and the hash of the pom. A complete folder is renamed into place, so
    an interrupted copy is never used, and a running process never loses its jars.
    Raises BrokerUnavailable.
    """
    folder = TARGET / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    TARGET.mkdir(exist_ok=True)
    with (TARGET / "lock").open("w") as lock:
        # Test runs share Maven's repository, so one run waits until the other's Maven has ended.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            partial = TARGET / "libs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            fill(partial)
            partial.rename(folder)
    return folder


def run_maven(what: str, pom: Path, folder: Path, arguments: Sequence[str]) -> None:
    """Runs Maven to put what a pom.xml names into a folder; `what` describes it. Raises BrokerUnavailable."""
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailable(
            f"{what[0].upper()}{what[1:]} come from Maven, and there is no mvn on the PATH. {REMEDY}"
        )
    command = [
        *(maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(pom)),
        *(*arguments, f"-DoutputDirectory={folder}"),
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
            f"Maven did not fetch {what} within {MAVEN_TIMEOUT_S:.0f} s: check "
            f"the network and run `{' '.join(command)}`."
        ) from None
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-MAVEN_TAIL_LINES:])
        raise BrokerUnavailable(
            f"Maven could not fetch {what}: check the network, then run "
            f"`{' '.join(command)}`. It said:\n{tail}"
        )
