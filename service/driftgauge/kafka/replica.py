"""A replica from start to stop: one session after another, for as long as waiting can mend what failed."""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence

from driftgauge.config import Settings
from driftgauge.core.spec import StreamSpec
from driftgauge.errors import BrokerError
from driftgauge.events.decoder import Decoder
from driftgauge.kafka import client, topics
from driftgauge.kafka.session import Session
from driftgauge.telemetry.health import Health
from driftgauge.telemetry.metrics import Telemetry

__all__ = ["Replica"]

_log = logging.getLogger(__name__)

_TOPIC_RETRY_S = 1.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
# A session that has lived so long was well; what ended it is a new trouble.
_WELL_MS = 60_000


class Replica:
    """One member of the consumer group, until told to stop.

    An outage of the brokers is waited out in the process: it exits for what an operator must
    mend, that is errors of configuration, rights or state.
    """

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        decoder: Decoder,
        *,
        telemetry: Telemetry,
        health: Health,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._decoder = decoder
        self._telemetry = telemetry
        self._health = health
        self._clock_ms = clock_ms
        # By a name that lasts a successor ends this process's transaction at once, not when it times out.
        self._transactional_id = f"driftgauge.{settings.group}.{settings.replica or uuid.uuid4().hex}"
        self._established: set[str] = set()

    def run(self, stopping: threading.Event) -> None:
        """Count until `stopping` is set.

        Raises:
            AuthorizationError: The cluster does not let us.
            StateError: The state cannot be used.
        """
        pause_s = _FIRST_PAUSE_S
        while self._await_topics(stopping):
            began_ms = self._clock_ms()
            try:
                self._live(stopping)
            except BrokerError as error:
                if self._clock_ms() - began_ms > _WELL_MS:
                    pause_s = _FIRST_PAUSE_S
                self._telemetry.session_lost(str(error), pause_s)
                stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return

    def _live(self, stopping: threading.Event) -> None:
        session = Session(
            self._settings,
            self._specs,
            self._decoder,
            transactional_id=self._transactional_id,
            established=self._established,
            telemetry=self._telemetry,
            health=self._health,
            clock_ms=self._clock_ms,
        )
        session.run(stopping)

    def _await_topics(self, stopping: threading.Event) -> bool:
        """Create the topics written to, wait for those read; False when told to stop meanwhile."""
        admin = client.admin(self._settings.kafka)
        names = self._settings.topics
        while not stopping.is_set():
            self._health.polled()
            try:
                topics.create_missing_topics(admin, [names.windows, names.dead_letters])
                missing = topics.missing_topics(admin, names.events)
            except BrokerError as error:
                # An outage at the start is as good as one later on: it is waited out.
                _log.warning("waiting for the cluster", extra={"error": str(error)})
            else:
                if not missing:
                    return True
                _log.warning("waiting for topics to be created", extra={"missing": missing})
            stopping.wait(_TOPIC_RETRY_S)
        return False
