"""What stands before every request of the HTTP server: the web configuration's login, rights and headers."""

from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftgauge.clock import Clock
from driftgauge.config import Right
from driftgauge.errors import ConfigError
from driftgauge.telemetry.login import Login
from driftgauge.telemetry.web_config import WebConfigFile, WebRules

__all__ = ["Guard"]


class Guard:
    """Passes on the requests that a web configuration file and the users' rights allow.

    Attributes:
        file: The web configuration file.
    """

    def __init__(self, file: WebConfigFile, rights: Mapping[str, Sequence[Right]], clock: Clock) -> None:
        """Guard by a file.

        Args:
            file: The web configuration file.
            rights: Rights by names of users; empty: every user has every right.
            clock: The clocks.

        Raises:
            ConfigError: Rights are given to users, and the file has none, so that nobody would log in.
        """
        if rights and not file.rules().has_login:
            message = (
                "http.users gives rights, and the web configuration file has no users: everything would be "
                "open to everybody; add basic_auth_users to the file"
            )
            raise ConfigError(message)
        self.file = file
        self._rights = rights
        self._login = Login(clock)

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
        right = _needed_right(scope["method"], scope["path"])
        if self._rights and right not in self._rights.get(user, ()):
            raise HTTPException(403, f"the user lacks the right {right}; see http.users in the configuration")


def _needed_right(method: str, path: str) -> Right:
    if method not in {"GET", "HEAD"}:
        return Right.WRITE
    return Right.METRICS if path == "/metrics" else Right.READ
