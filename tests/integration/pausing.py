"""`driftgauge` that suspends its own process (SIGSTOP) once, in a transaction, on request.

    python pausing.py REQUEST ARGUMENTS…

The file REQUEST names a call of the producer and a topic. Before the next such call in a transaction with a
record of the topic, the program deletes the file and suspends itself.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from driftgauge import cli
from driftgauge.kafka import calls, client


class PausingProducer:
    """A transactional producer that suspends the process before a requested call."""

    def __init__(self, producer: Producer, request: Path) -> None:
        self._producer = producer
        self._request = request
        self._topics: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def __len__(self) -> int:
        return len(self._producer)

    def begin_transaction(self) -> None:
        # The call fails while a transaction is open, which keeps the topics.
        self._producer.begin_transaction()
        self._topics.clear()

    def produce(self, topic: str, **record: Any) -> None:
        self._topics.add(topic)
        self._producer.produce(topic, **record)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        self._pause_before("send_offsets_to_transaction")
        self._producer.send_offsets_to_transaction(*arguments)

    def commit_transaction(self, *arguments: Any) -> None:
        self._pause_before("commit_transaction")
        self._producer.commit_transaction(*arguments)

    def _pause_before(self, call: str) -> None:
        if self._request.exists():
            requested, topic = self._request.read_text().split()
            if requested == call and topic in self._topics:
                # The records must be on the broker before the pause.
                self._producer.flush(10)
                self._request.unlink()
                # To this thread: another thread may receive a signal to the process later, after the call.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def main() -> None:
    request = Path(sys.argv.pop(1))
    # The time limit of a hanging call also runs while the process is suspended.
    calls.HANGING_S = 120.0
    make = client.transactional_producer
    client.transactional_producer = lambda *arguments, **named: PausingProducer(
        make(*arguments, **named), request
    )
    cli.main()


if __name__ == "__main__":
    main()
