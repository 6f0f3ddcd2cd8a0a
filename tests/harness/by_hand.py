"""A server of the tests, served in the foreground for trying things by hand."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NoReturn, Protocol, Self

from tests.harness.jars import BrokerUnavailable
from tests.harness.process import ServerError


class Server(Protocol):
    """A server that runs while its context lasts."""

    @property
    def address(self) -> str:
        """Where it answers."""

    @property
    def running(self) -> bool: ...

    def log_tail(self) -> str: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def serve_by_hand(name: str, make: Callable[[], Server]) -> NoReturn:
    """Serves until SIGINT or SIGTERM, then deletes the server's data; exits with a message if it cannot."""

    def end(signum: int, frame: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
        sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    sys.stderr.write(f"Starting the {name}. The first start takes minutes: Maven fetches its files.\n")
    try:
        with make() as server:
            sys.stdout.write(f"{server.address}\n")
            sys.stdout.flush()
            sys.stderr.write(f"The {name} serves until Ctrl-C. Its data is deleted then.\n")
            while server.running:
                time.sleep(0.5)
            sys.exit(f"The {name} ended by itself. Its log ends:\n{server.log_tail()}")
    except subprocess.TimeoutExpired as error:
        sys.exit(
            f"The {name} did not start: {error.cmd[0]} has not ended within {error.timeout:.0f} s. The "
            "machine is very busy, or short of memory: end other programs, and start it again."
        )
    except (BrokerUnavailable, ServerError) as error:
        sys.exit(str(error))
