"""The heartbeats of a replica, which a thread of its own sends, whatever the roles wait for."""

import logging
import os
import socket
import threading
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftgauge.clock import Clock
from driftgauge.errors import ServiceError
from driftgauge.kafka import client
from driftgauge.kafka.cluster import metadata
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.records.heartbeat import INTERVAL_S, encode_heartbeat
from driftgauge.telemetry.activity import Activity

__all__ = ["HeartbeatSender", "name_replica"]

_log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0
_DELIVERY_S: Final = 10.0
# The thread holds nothing that would have to be handed over.
_STOP_S: Final = 1.0


def name_replica(configured: str | None) -> str:
    """Return the name of this process in heartbeats, which tells apart two that are configured alike."""
    host = socket.gethostname()
    own = f"{host}:{os.getpid()}"
    # The name of a pod is its host's as well.
    return own if configured in (None, host) else f"{configured} on {own}"


class HeartbeatSender:
    """Sends what a replica has read, and what holds it up, to the topic of heartbeats, every 15 s.

    It has a producer of its own, outside of the roles' transactions: readers are to hear of a role whose
    transactions fail, and no role waits for this topic.
    """

    def __init__(self, login: Login, topic: str, replica: str, activity: Activity, clock: Clock) -> None:
        self._login = login
        self._topic = topic
        self._replica = replica
        self._activity = activity
        self._clock = clock
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def start(self) -> None:
        """Start to send; the first heartbeat goes once the service has created the topic."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                watch = LoginWatch(self._login, self._clock)
                producer, is_there = client.producer(self._login.properties()), False
                while not (self._stopping.is_set() or watch.needs_new_clients()):
                    # A record for a topic that is missing may create it with the cluster's defaults.
                    is_there = is_there or self._topic in metadata(producer).topics
                    if is_there:
                        self._send(producer)
                    self._stopping.wait(INTERVAL_S if is_there else _RETRY_S)
            except KafkaException as error:
                self._fail(error.args[0].str())
            except ServiceError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001 - without this thread page and status take it for dead
                self._fail(repr(error))

    def _send(self, producer: Producer) -> None:
        """Send a heartbeat; what is not known to be delivered goes into the next one, and may count twice."""
        errors: list[KafkaError] = []

        def report(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                errors.append(error)

        heartbeat = self._activity.take(self._replica)
        try:
            for value in encode_heartbeat(heartbeat):
                producer.produce(self._topic, value, self._replica, on_delivery=report)
            if producer.flush(_DELIVERY_S):
                producer.purge()
                producer.flush(_RETRY_S)
        except KafkaException as error:
            errors.append(error.args[0])
        if errors:
            self._activity.add(heartbeat)
            raise KafkaException(errors[0])
        self._is_failing = False

    def _fail(self, error: str) -> None:
        if not self._is_failing:
            _log.warning(
                "heartbeats are not delivered, so page and status do not know of this replica",
                extra={
                    "topic": self._topic,
                    "error": error,
                    "remedy": "check the brokers, and that this client may write to the topic",
                },
            )
        self._is_failing = True
        self._stopping.wait(INTERVAL_S)
