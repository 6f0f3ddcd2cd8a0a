"""The web configuration file in force, read again whenever it or a file that it names has changed."""

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from driftgauge.config.web import CIPHERS, TlsConfig, load_web_config
from driftgauge.errors import ConfigError

__all__ = ["WebConfigFile", "WebRules", "read_web_rules"]

_log = logging.getLogger(__name__)

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, eq=False)
class WebRules:
    """What a web configuration file demands of connections and requests.

    Attributes:
        context: The TLS of new connections; None: plain HTTP.
        allowed_sans: Alternative names of which a client's certificate must have one; empty: any.
        users: bcrypt hashes by names of users.
        has_login: Whether every request needs a user.
        headers: The headers of every answer.
        files: All files that were read.
    """

    context: ssl.SSLContext | None
    allowed_sans: frozenset[str]
    users: Mapping[str, str]
    has_login: bool
    headers: Mapping[str, str]
    files: tuple[Path, ...]

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a verified certificate, as `ssl.SSLSocket.getpeercert` has it, names a client."""
        if not self.allowed_sans:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        # Python writes out the zeros of IPv6.
        return any(
            (str(ip_address(name.strip())) if kind == "IP Address" else name) in self.allowed_sans
            for kind, name in names
        )


def read_web_rules(path: Path) -> WebRules:
    """Return what a web configuration file demands.

    Raises:
        ConfigError: The file, or one that it names, cannot be used.
    """
    config = load_web_config(path)
    tls = config.tls
    return WebRules(
        context=None if tls is None else _build_context(path, tls),
        allowed_sans=frozenset(() if tls is None else tls.client_allowed_sans),
        users=config.users,
        has_login=bool(config.users),
        headers=config.headers,
        files=(path, *(() if tls is None else tls.files.values())),
    )


def _build_context(path: Path, tls: TlsConfig) -> ssl.SSLContext:
    # OpenSSL would wait forever for the writer of a pipe.
    faults = [f"{key}: {file} is no file" for key, file in tls.files.items() if not file.is_file()]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    context.set_alpn_protocols(["http/1.1"])
    if tls.cipher_suites:
        context.set_ciphers(":".join(CIPHERS[suite] for suite in tls.cipher_suites))
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        if not faults:
            # Without a function OpenSSL asks for a passphrase on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        faults.append(f"cert_file and key_file: not a certificate in PEM and its key ({error})")
    try:
        if not faults and tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
    except (OSError, ValueError) as error:
        faults.append(f"client_ca_file: no certificates in PEM ({error})")
    if faults:
        message = f"{path} cannot be used; correct:"
        raise ConfigError(message, [f"{path}: tls_server_config.{fault}" for fault in faults])
    return context


class WebConfigFile:
    """A web configuration file, used by one thread.

    A change holds from the next connection and the next request on. A file that cannot be used changes
    nothing. A file that is being written may be empty for a moment, so a change does not switch TLS off, and
    without users nobody logs in; a restart does both.
    """

    def __init__(self, path: Path, on_read: Callable[[bool], object]) -> None:
        """Read the file.

        Args:
            path: The file.
            on_read: Called with whether the file can be used, each time that it was read.

        Raises:
            ConfigError: The file, or one that it names, cannot be used.
        """
        self._path = path
        self._on_read = on_read
        self._rules = read_web_rules(path)
        # The first request reads the files again, which may have changed while they were read.
        self._seen: list[object] = []

    def rules(self) -> WebRules:
        """Return the rules that hold now; they are the same object until a file changes."""
        seen: list[object] = [(file, _identify(file)) for file in self._rules.files]
        if seen != self._seen:
            self._seen = seen
            try:
                self._rules = _read_changed(self._path, self._rules)
            except ConfigError as error:
                self._on_read(False)  # noqa: FBT003
                remedy = "correct the file; it is read again when it changes"
                _log.error(
                    "the web configuration file cannot be used; what it said before holds",
                    extra={"problem": str(error), "remedy": remedy},
                )
            else:
                self._on_read(True)  # noqa: FBT003
                _log.info("web configuration read", extra={"file": str(self._path)})
        return self._rules


def _read_changed(path: Path, former: WebRules) -> WebRules:
    """Return what a changed file demands; raise ConfigError where it cannot be used."""
    rules = read_web_rules(path)
    if former.context is not None and rules.context is None:
        message = f"{path}: tls_server_config is missing; to switch TLS off, restart the service"
        raise ConfigError(message)
    return replace(rules, has_login=former.has_login or rules.has_login)


def _identify(file: Path) -> tuple[int, ...] | None:
    """Return what changes whenever a file is written or replaced; None without the file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
