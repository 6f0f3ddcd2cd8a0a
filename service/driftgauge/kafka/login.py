"""How Kafka clients log in, as the files of secrets and certificates have it now."""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from confluent_kafka import KafkaError

from driftgauge.clock import Clock
from driftgauge.files import open_regular
from driftgauge.kafka.client import KafkaProperties, property_problems
from driftgauge.kafka.rights import LOGIN_REFUSED, cannot_connect

__all__ = ["Login", "LoginWatch"]

_log = logging.getLogger(__name__)

# Kubernetes itself renews the files of a Secret only once a minute.
_INTERVAL_S: Final = 10.0
# A series of refused logins: how long it lasts before it counts, and the pause that ends it.
_REPEATED_S: Final = 10.0
_QUIET_S: Final = 60.0
# A client reads these files when it is made.
_FILE: Final = re.compile(r"ssl\.(?:ca|certificate|crl|key|keystore)\.location")

_Read: TypeAlias = tuple[KafkaProperties, Mapping[str, bytes]]
"""The properties of clients, and the content of each file that one of them names."""


class Login:
    """The properties of Kafka clients; some come from files, which change while the process runs."""

    def __init__(
        self, properties: KafkaProperties, read_secrets: Callable[[], KafkaProperties] = dict
    ) -> None:
        """Start with these properties; `read_secrets` returns those that files set now."""
        self._properties = properties
        self._read_secrets = read_secrets

    def properties(self) -> KafkaProperties:
        """Return the properties for a client that is made now."""
        # What can no longer be read stays as it was.
        self._properties = {**self._properties, **self._read_secrets()}
        return self._properties

    def read(self) -> _Read:
        """Return the properties and the contents of the files that they name."""
        properties = self.properties()
        files = {name: Path(str(value)) for name, value in properties.items() if _FILE.fullmatch(name)}
        return properties, {name: _content(file) for name, file in files.items()}


class LoginWatch:
    """Notices changed secrets and certificates while the clients of a session run, which read them once."""

    def __init__(self, login: Login, clock: Clock) -> None:
        """Begin before the clients are made, so that no change is missed."""
        self._login = login
        self._clock = clock
        self._read_s = clock.monotonic_s()
        self._used = self._refused = login.read()
        self._refusal: KafkaError | None = None  # the last one, and its series' first and last time
        self._refused_since_s = self._refused_s = 0.0

    def observe(self, error: KafkaError) -> None:
        """Note an error of a client's connections that says that its login is refused; else ignore it."""
        if error.code() in LOGIN_REFUSED:
            now_s = self._clock.monotonic_s()
            if self._refusal is None or now_s - self._refused_s > _QUIET_S:
                self._refused_since_s = now_s
            self._refusal, self._refused_s = error, now_s

    def require_accepted(self) -> None:
        """Raise BrokerError if the login is refused again and again.

        For a client without a call that would fail for it. One token that is not renewed, or one broker for a
        moment, is no reason: the refusals must go on for 10 s, and be no older than a minute.
        """
        goes_on = self._refused_s - self._refused_since_s >= _REPEATED_S
        if self._refusal is not None and goes_on and self._clock.monotonic_s() - self._refused_s <= _QUIET_S:
            raise cannot_connect(self._refusal)

    def needs_new_clients(self) -> bool:
        """Return whether a change needs new clients.

        A change that no client accepts is logged, and the clients keep what they have.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._read_s < _INTERVAL_S:
            return False
        self._read_s = now_s
        found = self._login.read()
        if found in (self._used, self._refused):
            return False
        if problems := property_problems(found[0]):
            self._refused = found
            _log.error(
                "the changed secrets or certificates for Kafka cannot be used; the former ones stay in use",
                extra={"problems": problems, "remedy": "correct the files"},
            )
            return False
        _log.info("secrets or certificates for Kafka changed; new clients replace the running ones")
        return True


def _content(file: Path) -> bytes:
    """Return a file's content; nothing for a folder of authorities, and for a file that cannot be read."""
    try:
        with open_regular(file) as opened:
            return opened.read()
    except OSError:
        return b""
