"""The web configuration file of Prometheus' exporter-toolkit: TLS, users and headers of the HTTP server.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md describes the format.
What cannot hold here is refused: a key that is accepted and ignored would leave a door open.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from driftgauge.config.fields import Section, check
from driftgauge.config.loading import describe_problem, load_yaml
from driftgauge.errors import refuse_problems

__all__ = ["TlsConfig", "WebConfig", "load_web_config"]

# Of cost 4, the least, to 14. A check of cost 10 takes 0.05 s on a free core; each further step doubles it.
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")


_File = Annotated[Path, Field(strict=False)]


class TlsConfig(Section):
    """The section `tls_server_config`.

    Attributes:
        cert_file: The server's certificates in PEM, its own first.
        key_file: The key of that certificate in PEM, without a passphrase.
        client_auth_type: Whether a client must, may or need not prove itself by a certificate.
        client_ca_file: The authorities in PEM that may sign clients' certificates.
        client_allowed_sans: Alternative names of which a client's certificate must have one; empty: any.
        min_version: The lowest version of TLS.
    """

    cert_file: _File
    key_file: _File
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = (
        "NoClientCert"
    )
    client_ca_file: _File | None = None
    client_allowed_sans: Annotated[tuple[str, ...], Field(strict=False)] = ()
    min_version: Literal["TLS12", "TLS13"] = "TLS12"

    @model_validator(mode="after")
    def _check_together(self) -> "TlsConfig":
        faults = []
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            faults.append(
                "client_ca_file and a client_auth_type other than NoClientCert need each other; give both"
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            faults.append("client_allowed_sans needs the client_auth_type RequireAndVerifyClientCert")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The files by the keys that name them."""
        files = {"cert_file": self.cert_file, "key_file": self.key_file}
        return files if self.client_ca_file is None else {**files, "client_ca_file": self.client_ca_file}

    def below(self, folder: Path) -> "TlsConfig":
        """Return the section with files relative to this folder."""
        return self.model_copy(update={key: folder / file for key, file in self.files.items()})


_Line = Annotated[
    str, check(lambda value: value.isascii() and value.isprintable(), "must be one line of ASCII")
]


class _Headers(Section):
    """The section `http_server_config.headers`: what these headers of every answer are; empty: no change."""

    content_security_policy: _Line = Field(alias="Content-Security-Policy", default="")
    frame_options: Literal["deny", "sameorigin", ""] = Field(alias="X-Frame-Options", default="")
    content_type_options: Literal["nosniff", ""] = Field(alias="X-Content-Type-Options", default="")
    xss_protection: _Line = Field(alias="X-XSS-Protection", default="")
    transport_security: _Line = Field(alias="Strict-Transport-Security", default="")


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
        ConfigError: Lists every problem found, each with its key, and quotes no value.
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
