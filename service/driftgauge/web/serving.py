"""The way into the HTTP server: routes for everybody whom the web configuration admits, and health beside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from starlette.routing import BaseRoute

from driftgauge.clock import Clock
from driftgauge.config import HttpSettings
from driftgauge.telemetry.metrics import LoginRefusal
from driftgauge.web.connections import HEALTH_LIMITS
from driftgauge.web.endpoints import version_route
from driftgauge.web.guard import Guard
from driftgauge.web.server import HttpServer
from driftgauge.web.web_config import WebConfigFile

__all__ = ["serving"]


@contextmanager
def serving(
    http: HttpSettings,
    routes: Sequence[BaseRoute],
    health: Sequence[BaseRoute],
    web_config: WebConfigFile | None,
    clock: Clock,
    on_login_refused: Callable[[LoginRefusal], object],
) -> Iterator[None]:
    """Serve routes, and health on a port of its own, while the context lasts.

    Args:
        http: Where to serve.
        routes: The routes that the web configuration guards; the version is added.
        health: The routes for a supervisor.
        web_config: The web configuration file; None: plain HTTP without a login.
        clock: The clocks.
        on_login_refused: Called with the reason of each refused login.

    Raises:
        ConfigError: An address cannot be bound.
    """
    guard = None if web_config is None else Guard(web_config, http.users, clock, on_login_refused)
    with ExitStack() as running:
        for server in (
            HttpServer(http.host, http.health, health, name="health", limits=HEALTH_LIMITS),
            HttpServer(http.host, http.port, [version_route(), *routes], guard=guard),
        ):
            server.start()
            running.callback(server.stop)
        yield
