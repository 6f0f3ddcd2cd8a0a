"""A broker that asks for a login on each listener but the tests' own, and grants nothing without an ACL."""

import json
import re
from argparse import ArgumentParser
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from driftgauge.clock import SYSTEM_CLOCK
from tests.harness.broker import Broker
from tests.harness.case import ROOT, Case
from tests.harness.fixtures import running
from tests.harness.node import HOST, free_ports
from tests.harness.registry_server import serve_answers
from tests.harness.topics import TIMEOUT_S
from tests.processes import run_required

USER = "driftgauge"
PASSWORD = "planted-password"  # noqa: S105 - of a broker that lives for one test
MECHANISMS = {"PLAIN": "PLAIN", "SCRAM": "SCRAM-SHA-512", "OAUTH": "OAUTHBEARER"}
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_LOGIN_MODULES = {
    "PLAIN": f"plain.PlainLoginModule required user_{USER}={PASSWORD}",
    "SCRAM": "scram.ScramLoginModule required",
    # Kafka's validator of unsigned tokens. What a client does is the same with signed ones.
    "OAUTH": (
        'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker" '
        'unsecuredValidatorRequiredScope="kafka"'
    ),
}


def make_certificate(
    folder: Path, name: str, signer: Path | None = None, password: str | None = None
) -> Path:
    """Make NAME.pem with a certificate of this common name, and NAME.key with its key.

    Args:
        folder: The folder of both files.
        name: The common name.
        signer: The certificate of the authority that signs; None for an authority.
        password: The password of the key; None for none.
    """
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    signed = () if signer is None else ("-CA", signer, "-CAkey", signer.with_suffix(".key"))
    run_required(
        *("openssl", "openssl", "req", "-x509", *signed, "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{HOST}"),
        *(("-nodes",) if password is None else ("-passout", f"pass:{password}")),
        *("-keyout", key, "-out", certificate),
    )
    return certificate


@dataclass
class TokenEndpoint:
    """An endpoint of OAuth client credentials, which gives unsigned tokens.

    Attributes:
        secret: The client's secret.
        scope: The scope of the tokens.
        lifetime_s: How long a token holds, in seconds.
        given: How many tokens it has given.
        url: Its address.
    """

    secret: str
    scope: str = "kafka"
    lifetime_s: float = 3_600.0
    given: int = 0
    url: str = ""

    def answer(self, _: str, authorization: str | None) -> tuple[int, bytes]:
        """Return status and body of a request for a token."""
        if authorization != f"Basic {b64encode(f'{USER}:{self.secret}'.encode()).decode()}":
            return 401, b'{"error": "invalid_client", "error_description": "unknown client or secret"}'
        self.given += 1
        now_s = SYSTEM_CLOCK.wall_ms() / 1_000
        claims = {"sub": USER, "scope": self.scope, "iat": now_s, "exp": now_s + self.lifetime_s}
        header, payload = (
            urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "none"}, claims)
        )
        return 200, json.dumps({"access_token": f"{header}.{payload}.", "token_type": "Bearer"}).encode()


@contextmanager
def token_endpoint(secret: str) -> Iterator[TokenEndpoint]:
    """Serve a token endpoint for a client with this secret until the context ends."""
    endpoint = TokenEndpoint(secret)
    with serve_answers(endpoint.answer) as endpoint.url:
        yield endpoint


@dataclass(frozen=True)
class SecuredBroker:
    """A broker with one listener for each kind of login; on `bootstrap`, without one, everything is allowed.

    Attributes:
        broker: The broker.
        folder: The folder of its certificates: `ca.pem` signs all.
        addresses: The addresses of the listeners, by name: PLAIN, SCRAM, TLS, OAUTH.
    """

    broker: Broker
    folder: Path
    addresses: dict[str, str]

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    def kafka(self, listener: str) -> dict[str, object]:
        """Return the properties of a client of a listener, without its secrets."""
        protocol = {"security.protocol": "SASL_SSL", "sasl.mechanism": MECHANISMS.get(listener, "")}
        return {
            "bootstrap.servers": self.addresses[listener],
            "ssl.ca.location": str(self.folder / "ca.pem"),
            **(protocol if listener in MECHANISMS else {"security.protocol": "SSL"}),
        }

    def set_scram_password(self, password: str) -> None:
        """Create the user of the listener SCRAM, or change its password."""
        change = UserScramCredentialUpsertion(
            USER, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096), password.encode()
        )
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.alter_user_scram_credentials([change])[USER].result(TIMEOUT_S)


def documented_rights(case: Case, user: str = USER) -> list[AclBinding]:
    """Return what the document on secured Kafka grants, to a user, for the topics and groups of a case."""
    text = (ROOT / "service/docs/how-to/secured-kafka.md").read_text().replace("\\\n", " ")
    # The first name of an internal resource is the service's own, and stays.
    named = re.sub(r"driftgauge(?!\.driftgauge)", case.name, text.replace("embeddings", case.events_topic))
    return [
        right for line in re.findall("^acl (--.*)", named, re.MULTILINE) for right in parse_rights(line, user)
    ]


def parse_rights(options: str, user: str = USER) -> list[AclBinding]:
    """Return what kafka-acls.sh would grant to a user with these options."""
    parser = ArgumentParser()
    for kind in _RESOURCES:
        parser.add_argument(f"--{kind}", action="append", default=[])
    parser.add_argument("--operation", action="append")
    parser.add_argument("--resource-pattern-type", default="literal")
    found = vars(parser.parse_args(options.split()))
    return [
        AclBinding(
            resource,
            name,
            ResourcePatternType[found["resource_pattern_type"].upper()],
            f"User:{user}",
            "*",
            AclOperation[re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
            AclPermissionType.ALLOW,
        )
        for kind, resource in _RESOURCES.items()
        for name in found[kind.replace("-", "_")]
        for operation in found["operation"]
    ]


@contextmanager
def secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """Run a secured broker, whose certificates are in this folder, until the context ends."""
    ca = make_certificate(folder, "ca")
    make_certificate(folder, "broker", ca)
    store = folder / "store.pem"
    store.write_text((folder / "broker.key").read_text() + (folder / "broker.pem").read_text())
    names = [*MECHANISMS, "TLS"]
    addresses = {name: f"{HOST}:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    protocols = [f"{name}:{'SASL_SSL' if name in MECHANISMS else 'SSL'}" for name in names]
    settings = {
        "listeners": ",".join(f"{name}://{address}" for name, address in addresses.items()),
        "listener.security.protocol.map": ",".join(
            ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT", *protocols]
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca),
        "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
        "listener.name.tls.ssl.client.auth": "required",
        # A client without a valid token is disconnected when its last one has expired.
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms": 3_600_000,
    }
    for name, mechanism in MECHANISMS.items():
        prefix, module = f"listener.name.{name.lower()}", _LOGIN_MODULES[name]
        settings |= {
            f"{prefix}.sasl.enabled.mechanisms": mechanism,
            f"{prefix}.{mechanism.lower()}.sasl.jaas.config": f"org.apache.kafka.common.security.{module};",
        }
    with running(lambda: Broker(settings=settings)) as broker:
        yield SecuredBroker(broker, folder, addresses)
