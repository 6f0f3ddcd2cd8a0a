"""Builders of web configuration files, with certificates and passwords, and a server that they guard."""

import base64
import ssl
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from driftgauge.config import Right
from driftgauge.telemetry.endpoints import metrics_route
from driftgauge.telemetry.guard import Guard
from driftgauge.telemetry.server import HttpServer
from driftgauge.telemetry.web_config import WebConfigFile
from tests.builders.clocks import ManualClock
from tests.processes import run_required

TIMEOUT_S = 300.0
RIGHTS = {"scraper": (Right.METRICS,), "reader": (Right.READ,), "writer": tuple(Right)}
TLS = {"cert_file": "server.pem", "key_file": "server.key"}


def issue(folder: Path, name: str, authority: str = "") -> None:
    """Write a certificate for `name` and `localhost`, and its key, signed by itself or by an authority."""
    signer = ("-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key") if authority else ()
    run_required(
        "openssl", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:localhost,DNS:{name},IP:::1",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", *signer,
    )  # fmt: skip


def hash_of(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class GuardedServer:
    """A server of `/metrics` and `/` that a web configuration file guards.

    Attributes:
        valid: Whether the file could be used when it was read last.
    """

    def __init__(self, folder: Path, clock: ManualClock, **sections: Any) -> None:
        self.folder = folder
        self.valid: bool | None = None
        self.write(**sections)

        def set_valid(valid: bool) -> None:
            self.valid = valid

        async def root(_: Any) -> PlainTextResponse:
            return PlainTextResponse("here")

        guard = Guard(WebConfigFile(folder / "web.yml", set_valid), RIGHTS, clock.clock)
        routes = [metrics_route(CollectorRegistry()), Route("/", root, methods=["GET", "POST"])]
        self.server = HttpServer("127.0.0.1", 0, routes, guard=guard)
        self.server.start()

    def write(self, **sections: Any) -> None:
        (self.folder / "web.yml").write_text(yaml.safe_dump(sections))

    def connect(self, client: str | None = None, **options: Any) -> HTTPConnection:
        """Return a connection, by TLS if there is a certificate, with a client's certificate and options."""
        if not (self.folder / "server.pem").exists():
            return HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self.folder / "server.pem")
        for name, value in options.items():
            setattr(context, name, value)
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return HTTPSConnection("localhost", self.server.port, timeout=TIMEOUT_S, context=context)

    def ask(self, path: str, authorization: str = "", method: str = "GET") -> HTTPResponse:
        """Return the answer, whose body was read."""
        connection = self.connect()
        try:
            return answer(connection, path, authorization, method)
        finally:
            connection.close()


def answer(
    connection: HTTPConnection, path: str = "/", authorization: str = "", method: str = "GET"
) -> HTTPResponse:
    connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
    response = connection.getresponse()
    response.read()
    return response
