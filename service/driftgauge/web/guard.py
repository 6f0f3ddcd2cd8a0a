"""What stands before every request of the HTTP server: the web configuration's login, rights and headers.

The login is basic authentication (RFC 7617) against bcrypt hashes, off the event loop, with limited attempts.
"""

import asyncio
import logging
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftgauge.clock import Clock
from driftgauge.config import Right
from driftgauge.telemetry.metrics import LoginRefusal
from driftgauge.web.web_config import WebConfigFile, WebRules

__all__ = ["Guard"]

_log = logging.getLogger(__name__)

# Checks run one after the other, so that they take one core at most. Each takes 0.05 s of it and more.
_MOST_WAITING = 8
_MOST_FAILURES = 10
_FAILURES_PER_S = 60.0


class Guard:
    """Passes on the requests that a web configuration file and the users' rights allow.

    Attributes:
        file: The web configuration file.
    """

    def __init__(
        self,
        file: WebConfigFile,
        rights: Mapping[str, Sequence[Right]],
        clock: Clock,
        on_refused: Callable[[LoginRefusal], object],
    ) -> None:
        """Guard by a file.

        Args:
            file: The web configuration file.
            rights: Rights by names of users; empty: every user has every right.
            clock: The clocks.
            on_refused: Called with the reason of each refused login.
        """
        self.file = file
        self._rights = rights
        self._login = _Login(clock, on_refused)

    def protect(self, app: ASGIApp) -> ASGIApp:
        """Return an application that asks this one for what is allowed, and adds the file's headers."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            rules = self.file.rules()

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(rules.headers)
                await send(message)

            answer = app
            try:
                if rules.has_login:
                    await self._check(scope, rules)
            except HTTPException as error:
                answer = PlainTextResponse(error.detail, error.status_code, error.headers)
            await answer(scope, receive, send_with_headers)

        return guarded

    async def _check(self, scope: Scope, rules: WebRules) -> None:
        """Raise HTTPException for a request without a user, or whose user lacks the right to it."""
        authorization = Headers(scope=scope).get("authorization", "")
        address = (scope.get("client") or ("",))[0]
        user = await self._login.find_user(authorization, rules.users, address)
        right = Right.METRICS if scope["path"] == "/metrics" else Right.READ
        if self._rights and right not in self._rights.get(user, ()):
            raise HTTPException(403, f"the user lacks the right {right}; see http.users in the configuration")


class _Login:
    """Finds the users of requests; used by one event loop."""

    def __init__(self, clock: Clock, on_refused: Callable[[LoginRefusal], object]) -> None:
        """Know nobody yet.

        Args:
            clock: The clocks; only the monotonic one is used.
            on_refused: Called with the reason of each refusal.
        """
        self._clock = clock
        self._on_refused = on_refused
        self._key = token_bytes()
        # One digest for each user, of the hash as well, so that another hash makes it useless.
        self._known: dict[str, bytes] = {}
        self._failures: Counter[str] = Counter()
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
            HTTPException: 401 without a user or with a wrong password; 429 after ten wrong passwords from an
                address within a minute; 503 while too many others wait. The last two keep out nobody whose
                password is known.
        """
        name, password = _read_credentials(authorization)
        hashed = users.get(name)
        # Without a user the same time passes as for the costliest hash, so that nobody learns which users
        # there are, if all hashes cost the same.
        checked = hashed or max(users.values(), key=_cost, default=None)
        if checked is None:
            raise _unauthorized()
        secret = f"{checked}:{name}:{password}".encode()
        digest = blake2b(secret, key=self._key).digest()
        if hashed and self._is_known(name, digest):
            return name
        if self._clock.monotonic_s() >= self._failures_until_s:
            self._failures.clear()
            self._failures_until_s = self._clock.monotonic_s() + _FAILURES_PER_S
        # Not by name as well: one client could fill the queue with names.
        if self._failures[address] >= _MOST_FAILURES:
            self._on_refused(LoginRefusal.LIMITED)
            raise HTTPException(429, "too many wrong passwords; wait a minute", {"Retry-After": "60"})
        if self._waiting >= _MOST_WAITING:
            self._on_refused(LoginRefusal.BUSY)
            raise HTTPException(503, "too many log in at once; try again", {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._turn:
                # A request that waited may ask the same as one before it.
                is_right = self._is_known(name, digest) or await asyncio.to_thread(
                    _is_right, password, checked
                )
        finally:
            self._waiting -= 1
        if hashed is None or not is_right:
            self._failures[address] += 1
            self._on_refused(LoginRefusal.WRONG)
            remedy = "none, unless it repeats: then look for the client, and for a password that was changed"
            _log.warning("a login over HTTP was refused", extra={"client": address, "remedy": remedy})
            raise _unauthorized()
        self._known[name] = digest
        return name

    def _is_known(self, name: str, digest: bytes) -> bool:
        return compare_digest(self._known.get(name, b""), digest)


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
