"""`driftgauge` whose process stops itself (SIGSTOP) in the midst of a transaction, once, when told to.

    python stops.py ORDER ARGUMENTS…

Once the file ORDER exists it is obeyed: it holds the name of the producer's call before which to
stop, and of a topic that the transaction must have a record of. Then the file is removed.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from driftgauge import cli
from driftgauge.kafka import calls, client


class StoppingProducer:
    """A transactional producer that stops the process before a call."""

    def __init__(self, producer: Producer, order: Path) -> None:
        self._producer = producer
        self._order = order
        self._topics: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def __len__(self) -> int:
        return len(self._producer)

    def begin_transaction(self) -> None:
        # It fails while one is open.
        self._producer.begin_transaction()
        self._topics.clear()

    def produce(self, topic: str, **record: Any) -> None:
        self._topics.add(topic)
        self._producer.produce(topic, **record)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        self._stop_before("send_offsets_to_transaction")
        self._producer.send_offsets_to_transaction(*arguments)

    def commit_transaction(self, *arguments: Any) -> None:
        self._stop_before("commit_transaction")
        self._producer.commit_transaction(*arguments)

    def _stop_before(self, call: str) -> None:
        if self._order.exists():
            ordered, topic = self._order.read_text().split()
            if ordered == call and topic in self._topics:
                # What was produced is on the broker, as much as can be.
                self._producer.flush(10)
                self._order.unlink()
                # To this thread: it must not go on until the signal has come round to it.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def main() -> None:
    order = Path(sys.argv.pop(1))
    # A call that hangs is given up after a time that goes on while the process is stopped.
    calls.HANGING_S = 120.0
    make = client.transactional_producer
    client.transactional_producer = lambda *arguments, **named: StoppingProducer(
        make(*arguments, **named), order
    )
    cli.main()


if __name__ == "__main__":
    main()
