"""Refuses brokers that are too old for exactly-once processing."""

import logging
import re
from collections.abc import Mapping
from typing import Final

from driftgauge.errors import ConfigError
from driftgauge.kafka.client import KafkaProperties, admin
from driftgauge.kafka.metadata import has_controller

__all__ = ["require_transactions"]

_log = logging.getLogger(__name__)

# The versions of Kafka 2.5. Below TxnOffsetCommit 3 the client commits without the group's generation, so
# brokers accept a stale owner; below OffsetFetch 7 it reads offsets that an open transaction replaces.
_NEEDED: Final[Mapping[str, int]] = {"TxnOffsetCommit": 3, "OffsetFetch": 7}
_LINE: Final = re.compile(r"ApiKey (\w+) \(\d+\) Versions \d+\.\.(\d+)")


class _ApiVersions:
    """A logger that collects a broker's request versions, which librdkafka reports only in its log."""

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}

    def log(self, _: int, message: str, *arguments: object) -> None:
        """Receive a line."""
        found = _LINE.search(message % arguments if arguments else message)
        if found:
            self.highest[found[1]] = int(found[2])


def require_transactions(properties: KafkaProperties) -> None:
    """Refuse brokers before Kafka 2.5, judged by the request versions of the broker that answers.

    Raises:
        ConfigError: The brokers are too old.
        BrokerError: The cluster does not answer.
    """
    versions = _ApiVersions()
    probe = admin({**properties, "debug": "feature", "log_level": 7}, logger=versions)
    if not has_controller(probe):
        # librdkafka's embedded broker offers no exactly-once guarantees anyway.
        return
    probe.poll(0)
    if not versions.highest:
        _log.warning(
            "the brokers' version is not checked: the client does not report it",
            extra={"remedy": "make sure that the brokers run Kafka 2.5 or later"},
        )
        return
    old = [
        f"{name} v{known}" for name in _NEEDED if (known := versions.highest.get(name, -1)) < _NEEDED[name]
    ]
    if old:
        message = (
            f"the brokers at kafka.bootstrap.servers know {', '.join(old)} at most, so counts would not be "
            "exact; upgrade them to Kafka 2.5 or later"
        )
        raise ConfigError(message)
