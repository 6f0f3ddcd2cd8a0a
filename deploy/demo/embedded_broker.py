"""The broker inside librdkafka, for the demo: in memory, in this process, on a loopback port.

It is made for librdkafka's own tests: topics appear when they are first asked for, with four
partitions; each partition keeps its last 5 MiB; nothing is compacted; transactions are accepted
but not enforced; nothing outlives the process. It proves nothing about restarts.
"""

from collections.abc import Sequence

from confluent_kafka import KafkaException, Producer

from driftgauge.errors import BrokerError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = ["EmbeddedBroker"]

# librdkafka would announce on standard error that the broker is a mock.
_WARNING = 4


class EmbeddedBroker:
    """A broker that lives as long as this object, used as a context manager."""

    def __init__(self, topics: Sequence[str]) -> None:
        """Start the broker with these topics.

        Raises:
            BrokerError: It does not answer.
        """
        self._host: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": _WARNING})
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
        self._host = None  # the broker ends with the client that carries it
