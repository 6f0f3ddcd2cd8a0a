"""The mock broker inside librdkafka: in memory, in this process, on a loopback port.

librdkafka has it for its own tests. Topics appear on the first request, with four partitions. Each
partition keeps its last 5 MiB, without compaction. Transactions are accepted but not enforced. All
data ends with the process, so the broker proves nothing about restarts.
"""

from collections.abc import Sequence

from confluent_kafka import KafkaException, Producer

from driftgauge.errors import BrokerError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = ["EmbeddedBroker"]

# syslog's warning level: librdkafka does not print its notice that the broker is a mock.
_LOG_LEVEL = 4


class EmbeddedBroker:
    """A context manager that runs the broker."""

    def __init__(self, topics: Sequence[str]) -> None:
        """Start the broker with these topics.

        Raises:
            BrokerError: The broker does not answer.
        """
        self._host: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": _LOG_LEVEL})
        try:
            for topic in topics:
                self._host.list_topics(topic, timeout=REQUEST_TIMEOUT_S)
            brokers = self._host.list_topics(timeout=REQUEST_TIMEOUT_S).brokers.values()
        except KafkaException as error:
            message = f"the embedded broker does not answer ({error.args[0].str()}); run the demo again"
            raise BrokerError(message) from error
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(self, *_: object) -> None:
        self._host = None  # The broker ends with the client that hosts it.
