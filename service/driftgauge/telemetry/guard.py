"""What stands before every request of the HTTP server: the web configuration's login, rights and headers."""

from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftgauge.clock import Clock
from driftgauge.config import Right
from driftgauge.telemetry.login import Login, LoginRefusal
from driftgauge.telemetry.web_config import WebConfigFile, WebRules

__all__ = ["Guard"]


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
        self._login = Login(clock, on_refused)

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
