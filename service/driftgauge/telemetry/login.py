"""Basic authentication (RFC 7617) against bcrypt hashes, off the event loop, with limited attempts."""

import asyncio
import logging
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from secrets import token_bytes

import bcrypt
from starlette.exceptions import HTTPException

from driftgauge.clock import Clock

__all__ = ["Login"]

_log = logging.getLogger(__name__)

# A scrape every minute keeps its password known; a check takes 0.05 s of a core and more.
_KNOWN_S = 300.0
# Checks run one after the other, so that they take one core at most.
_MOST_WAITING = 8
_MOST_FAILURES = 10
_FAILURES_PER_S = 60.0


class Login:
    """Finds the users of requests; used by one event loop."""

    def __init__(self, clock: Clock) -> None:
        """Know nobody yet; only the monotonic clock is used."""
        self._clock = clock
        self._key = token_bytes()
        self._known_until_s: dict[bytes, float] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failures_until_s = 0.0
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def find_user(self, authorization: str, users: Mapping[str, str], address: str) -> str:
        """Return the user that a request names, with the right password.

        Args:
            authorization: The header `Authorization`; empty without one.
            users: bcrypt hashes by names of users.
            address: The client's address.

        Raises:
            HTTPException: 401 without a user or with a wrong password; 429 after ten wrong passwords of a
                user from an address within a minute; 503 while too many others wait.
        """
        name, password = _read_credentials(authorization)
        hashed = users.get(name)
        # Without a user the same time passes as for the costliest hash, so that nobody learns which users
        # there are, where all hashes cost the same.
        checked = hashed or max(users.values(), key=_cost, default=None)
        if checked is None:
            raise _unauthorized()
        secret = f"{checked}:{name}:{password}".encode()
        digest = blake2b(secret, key=self._key).digest()
        if hashed and self._is_known(digest):
            self._known_until_s[digest] = self._clock.monotonic_s() + _KNOWN_S
            return name
        source = (address, name)
        if self._clock.monotonic_s() >= self._failures_until_s:
            self._failures.clear()
            self._failures_until_s = self._clock.monotonic_s() + _FAILURES_PER_S
        if self._failures[source] >= _MOST_FAILURES:
            raise HTTPException(429, "too many wrong passwords; wait a minute", {"Retry-After": "60"})
        if self._waiting >= _MOST_WAITING:
            raise HTTPException(503, "too many log in at once; try again", {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._turn:
                # A request that waited may ask the same as one before it.
                is_right = self._is_known(digest) or await asyncio.to_thread(_is_right, password, checked)
        finally:
            self._waiting -= 1
        if hashed is None or not is_right:
            self._failures[source] += 1
            remedy = "none, unless it repeats: then look for the client, and for a password that was changed"
            _log.warning("a login over HTTP was refused", extra={"client": address, "remedy": remedy})
            raise _unauthorized()
        now_s = self._clock.monotonic_s()
        self._known_until_s = {
            known: until_s for known, until_s in self._known_until_s.items() if until_s > now_s
        } | {digest: now_s + _KNOWN_S}
        return name

    def _is_known(self, digest: bytes) -> bool:
        return self._known_until_s.get(digest, 0.0) > self._clock.monotonic_s()


def _read_credentials(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise _unauthorized() from None
    if scheme.lower() != "basic" or not colon:
        raise _unauthorized()
    return name, password


def _cost(hashed: str) -> str:
    return hashed[4:6]  # of $2b$12$…


def _is_right(password: str, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:
        # More than 72 bytes, of which bcrypt would drop the rest.
        return False


def _unauthorized() -> HTTPException:
    headers = {"WWW-Authenticate": 'Basic realm="driftgauge", charset="UTF-8"'}
    return HTTPException(401, "log in with a user of the web configuration file", headers)
