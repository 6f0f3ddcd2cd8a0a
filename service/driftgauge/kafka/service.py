"""The roles of a replica, each in a thread of its own: one session after another until told to stop."""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from collections.abc import Iterator

from driftgauge.clock import Clock
from driftgauge.config import Role, Settings
from driftgauge.core.spec import StreamSpec
from driftgauge.errors import BrokerError
from driftgauge.events.decoder import Decoder
from driftgauge.kafka import client, topics
from driftgauge.kafka.count_worker import CountWorker
from driftgauge.kafka.dead_letters import DeadLetters
from driftgauge.kafka.session import Session
from driftgauge.kafka.topic_watch import TopicWatch
from driftgauge.kafka.transaction import Transaction
from driftgauge.kafka.window_worker import WindowWorker
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["Service"]

_log = logging.getLogger(__name__)

_TOPIC_RETRY_S = 1.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
# A session that has lived so long was well; what ended it is a new trouble.
_WELL_S = 60.0
_START_S = 20.0
# A record of a partial stays well below what brokers take, 1 MB unless told otherwise.
_PARTIAL_BYTES = 500_000
