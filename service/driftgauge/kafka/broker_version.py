"""Brokers that are too old for exactly-once are refused."""

import logging
import re
from collections.abc import Mapping
from typing import Final

from driftgauge.errors import ConfigError
from driftgauge.kafka.client import KafkaProperties, admin
from driftgauge.kafka.metadata import has_controller

__all__ = ["require_transactions"]

_log = logging.getLogger(__name__)

# Kafka 2.5. Below the first the client commits without the group's generation, so a stale owner is not
# refused; below the second it reads offsets that an open transaction is about to replace.
_NEEDED: Final[Mapping[str, int]] = {"TxnOffsetCommit": 3, "OffsetFetch": 7}
_LINE: Final = re.compile(r"ApiKey (\w+) \(\d+\) Versions \d+\.\.(\d+)")


class _ApiVersions:
    """A logger that notes which requests a broker knows: librdkafka tells it in its log only."""

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}

    def log(self, _: int, message: str, *arguments: object) -> None:
        """Take a line."""
        found = _LINE.search(message % arguments if arguments else message)
        if found:
            self.highest[found[1]] = int(found[2])


def require_transactions(properties: KafkaProperties) -> None:
    """Refuse brokers before Kafka 2.5, by what the one that answers says it knows.

    Raises:
        ConfigError: They are too old.
        BrokerError: The cluster does not answer.
    """
    heard = _ApiVersions()
    asking = admin({**properties, "debug": "feature", "log_level": 7}, logger=heard)
    if not has_controller(asking):
        # The broker inside librdkafka: nothing that it does is exactly once.
        return
    asking.poll(0)
    if not heard.highest:
        _log.warning("the brokers' version is not checked: the client does not tell it")
        return
    old = [f"{name} v{known}" for name in _NEEDED if (known := heard.highest.get(name, -1)) < _NEEDED[name]]
    if old:
        message = (
            f"the brokers at kafka.bootstrap.servers know {', '.join(old)} at most, so counts would not be "
            "exact; upgrade them to Kafka 2.5 or later"
        )
        raise ConfigError(message)
