"""The web configuration file of Prometheus' exporter-toolkit: TLS, users and headers of the HTTP server.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md describes the format.
What cannot hold here is refused: a key that is accepted and ignored would leave a door open.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from driftgauge.config.fields import Section, check, require
from driftgauge.config.problems import describe_problem
from driftgauge.config.yaml_file import load_yaml
from driftgauge.errors import refuse_problems

__all__ = ["CIPHERS", "TlsConfig", "WebConfig", "load_web_config"]

CIPHERS = {
    f"TLS_ECDHE_{key}_WITH_{cipher}": f"ECDHE-{key}-{name}"
    for key in ("ECDSA", "RSA")
    for cipher, name in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""OpenSSL's names of the cipher suites of TLS 1.2 that are used, by the IANA names that the file has.

All have forward secrecy and authenticated encryption (RFC 5289, RFC 7905).
"""

# Of cost 4, the least, to 14. A check of cost 10 takes 0.05 s on a free core; each further step doubles it.
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")


_File = Annotated[Path, Field(strict=False)]
_Version = Literal["TLS12", "TLS13"]


class TlsConfig(Section):
    """The section `tls_server_config`.

    Attributes:
        cert_file: The server's certificates in PEM, its own first.
        key_file: The key of that certificate in PEM, without a passphrase.
        client_auth_type: Whether a client must, may or need not prove itself by a certificate.
        client_ca_file: The authorities in PEM that may sign clients' certificates.
        client_allowed_sans: Alternative names of which a client's certificate must have one; empty: any.
        min_version: The lowest version of TLS.
        max_version: The highest version of TLS.
        cipher_suites: The suites of TLS 1.2, the preferred first; empty: all of `CIPHERS`.
        prefer_server_cipher_suites: Whether the server's order of suites decides, not the client's.
    """

    cert_file: _File
    key_file: _File
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = (
        "NoClientCert"
    )
    client_ca_file: _File | None = None
    client_allowed_sans: Annotated[tuple[str, ...], Field(strict=False)] = ()
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: Annotated[tuple[str, ...], Field(strict=False)] = ()
    prefer_server_cipher_suites: bool = True

    @field_validator("cipher_suites")
    @classmethod
    def _check_suites(cls, suites: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [suite for suite in suites if suite not in CIPHERS]:
            message = f"{', '.join(unknown)} cannot be chosen; known are {', '.join(CIPHERS)}"
            raise ValueError(message)
        return suites

    @model_validator(mode="after")
    def _check_together(self) -> "TlsConfig":
        faults = []
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            faults.append(
                "client_ca_file and a client_auth_type other than NoClientCert need each other; give both"
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            faults.append("client_allowed_sans needs the client_auth_type RequireAndVerifyClientCert")
        if self.min_version > self.max_version:
            faults.append("min_version is above max_version")
        require(not faults, "; ".join(faults))
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The files by the keys that name them."""
        files = {"cert_file": self.cert_file, "key_file": self.key_file}
        return files if self.client_ca_file is None else {**files, "client_ca_file": self.client_ca_file}

    def below(self, folder: Path) -> "TlsConfig":
        """Return the section with files relative to this folder."""
        return self.model_copy(update={key: folder / file for key, file in self.files.items()})


class _Headers(Section):
    """The section `http_server_config.headers`: what these headers of every answer are; empty: no change."""

    content_security_policy: str = Field(alias="Content-Security-Policy", default="")
    frame_options: Literal["deny", "sameorigin", ""] = Field(alias="X-Frame-Options", default="")
    content_type_options: Literal["nosniff", ""] = Field(alias="X-Content-Type-Options", default="")
    xss_protection: str = Field(alias="X-XSS-Protection", default="")
    transport_security: str = Field(alias="Strict-Transport-Security", default="")

    @field_validator("*")
    @classmethod
    def _check_value(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            message = "must be one line of ASCII"
            raise ValueError(message)
        return value


class _HttpServerConfig(Section):
    http2: Annotated[bool, check(lambda value: not value, "the server speaks HTTP/1.1; remove it")] = False
    headers: _Headers = _Headers()


_UserName = Annotated[str, Field(pattern=r"^[^:]+$")]
_PasswordHash = Annotated[
    str,
    check(_HASH.fullmatch, "must be a bcrypt hash of cost 4 to 14, as `htpasswd -nBC 10 NAME` makes it"),
]


class WebConfig(Section):
    """The whole file.

    Attributes:
        tls: The section `tls_server_config`; None: plain HTTP.
        http: The section `http_server_config`.
        users: The section `basic_auth_users`: bcrypt hashes by names of users.
    """

    tls: TlsConfig | None = Field(alias="tls_server_config", default=None)
    http: _HttpServerConfig = Field(alias="http_server_config", default=_HttpServerConfig())
    users: dict[_UserName, _PasswordHash] = Field(alias="basic_auth_users", default_factory=dict, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every answer, by their names."""
        headers: dict[str, str] = self.http.headers.model_dump(by_alias=True)
        return {name: value for name, value in headers.items() if value}


def load_web_config(path: Path) -> WebConfig:
    """Return what a web configuration file holds; relative files begin at its folder.

    Raises:
        ConfigError: Lists every problem, each with its key, and quotes no value.
    """
    tree, problems = load_yaml(path, "name an existing file in http.web_config")
    try:
        config = WebConfig.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [describe_problem(problem, WebConfig) for problem in found]
    refuse_problems(path, [f"{path}: {problem}" for problem in problems])
    tls = config.tls
    return config if tls is None else config.model_copy(update={"tls": tls.below(path.parent)})
