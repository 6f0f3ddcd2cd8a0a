"""`python -m tests.harness.by_hand broker --port 9092`: a broker, or a schema registry, for trying things.

It serves in the foreground until SIGINT or SIGTERM, and then deletes its data.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from typing import Final, NoReturn

from tests.harness.broker import Broker
from tests.harness.jars import BrokerUnavailable, kafka_version
from tests.harness.process import ServerError
from tests.harness.registry import Registry
from tests.output import say

PORTS: Final = {"broker": 9092, "registry": 8081}
ENDS: Final = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a broker or a registry on the loopback interface.")
    parser.add_argument("name", choices=PORTS)
    parser.add_argument("--port", type=int, help=f"0 takes a free one (default: {PORTS})")
    parser.add_argument("--version", help=f"of Kafka (default: {kafka_version()})")
    asked = parser.parse_args()
    port = PORTS[asked.name] if asked.port is None else asked.port or None
    for number in ENDS:
        signal.signal(number, _end)
    sys.stderr.write(f"Starting the {asked.name}. The first start takes minutes: Maven fetches its files.\n")
    try:
        with Broker(port, version=asked.version) if asked.name == "broker" else Registry(port) as server:
            say(server.bootstrap if isinstance(server, Broker) else server.url)
            process = server.node if isinstance(server, Broker) else server
            sys.stderr.write(f"The {asked.name} serves until Ctrl-C. Its data is deleted then.\n")
            while process.running:
                time.sleep(0.5)
            sys.exit(f"The {asked.name} ended by itself. Its log ends:\n{process.log_tail()}")
    except (BrokerUnavailable, ServerError, subprocess.TimeoutExpired) as error:
        sys.exit(str(error))


def _end(signum: int, frame: object) -> NoReturn:
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
    sys.exit(0)


if __name__ == "__main__":
    main()
