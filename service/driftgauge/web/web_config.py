"""The web configuration file in force, read again whenever it or a file that it names has changed."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from driftgauge.config.web import CIPHERS, TlsConfig, load_web_config
from driftgauge.errors import ConfigError, refuse_problems

__all__ = ["TlsRules", "WebConfigFile", "WebRules"]

_log = logging.getLogger(__name__)

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


_Identity = tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class TlsRules:
    """The TLS of connections, which are closed when another object takes its place.

    Attributes:
        config: What the web configuration file says of it.
        files: What the certificates, keys and authorities were when they were read.
        context: The TLS of new connections.
    """

    config: TlsConfig
    files: Mapping[Path, _Identity]
    context: ssl.SSLContext

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a verified certificate, as `ssl.SSLSocket.getpeercert` has it, names a client."""
        allowed = self.config.client_allowed_sans
        if not allowed:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        # Python writes out the zeros of IPv6.
        return any(
            (str(ip_address(name.strip())) if kind == "IP Address" else name) in allowed
            for kind, name in names
        )


@dataclass(frozen=True, slots=True)
class WebRules:
    """What a web configuration file demands of connections and requests.

    Attributes:
        tls: The TLS of connections; None: plain HTTP.
        users: bcrypt hashes by names of users.
        has_login: Whether every request needs a user.
        headers: The headers of every answer.
    """

    tls: TlsRules | None
    users: Mapping[str, str]
    has_login: bool
    headers: Mapping[str, str]


def _build_context(path: Path, tls: TlsConfig) -> ssl.SSLContext:
    # OpenSSL would wait forever for the writer of a pipe.
    faults = [f"{key}: {file} is no file" for key, file in tls.files.items() if not file.is_file()]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    context.set_alpn_protocols(["http/1.1"])
    context.set_ciphers(":".join(CIPHERS[suite] for suite in tls.cipher_suites or CIPHERS))
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
    refuse_problems(path, [f"{path}: tls_server_config.{fault}" for fault in faults])
    return context


class WebConfigFile:
    """A web configuration file, used by one thread.

    A change holds from the next connection and the next request on. A file that cannot be used changes
    nothing. A file that is being written may be empty for a moment, so a change does not switch TLS off, and
    without users nobody logs in; a restart does both.

    Attributes:
        is_valid: Whether the file could be used when it was last read.
    """

    def __init__(self, path: Path, *, needs_users: bool = False) -> None:
        """Read the file.

        Args:
            path: The file.
            needs_users: Whether rights are given to its users.

        Raises:
            ConfigError: The file, or one that it names, cannot be used.
        """
        self.is_valid = True
        self._path = path
        self._seen: dict[Path, _Identity] = {}
        self._rules = self._read(None)
        if needs_users and not self._rules.has_login:
            message = (
                "http.users gives rights, and the web configuration file has no users: everything would be "
                "open to everybody; add basic_auth_users to the file"
            )
            raise ConfigError(message)

    def rules(self) -> WebRules:
        """Return the rules that hold now."""
        if any(_identify(file) != seen for file, seen in self._seen.items()):
            try:
                self._rules = self._read(self._rules)
            except ConfigError as error:
                self.is_valid = False
                remedy = "correct the file; it is read again when it changes, or a file that it names"
                _log.error(
                    "the web configuration file cannot be used; what it said before holds",
                    extra={"problem": str(error), "remedy": remedy},
                )
            else:
                self.is_valid = True
                _log.info("web configuration read", extra={"file": str(self._path)})
        return self._rules

    def _read(self, former: WebRules | None) -> WebRules:
        """Return what the file demands now; raise ConfigError if it cannot be used."""
        # A file is identified before it is read, so a change meanwhile is found later. Files that a faulty
        # configuration names are watched as well: they may arrive after it.
        self._seen = {self._path: _identify(self._path)}
        config = load_web_config(self._path)
        tls = None
        if config.tls is not None:
            files = {file: _identify(file) for file in config.tls.files.values()}
            self._seen |= files
            tls = None if former is None else former.tls
            if tls is None or (tls.config, tls.files) != (config.tls, files):
                tls = TlsRules(config.tls, files, _build_context(self._path, config.tls))
        elif former is not None and former.tls is not None:
            message = f"{self._path}: tls_server_config is missing; to switch TLS off, restart the service"
            raise ConfigError(message)
        has_login = bool(config.users) or (former is not None and former.has_login)
        return WebRules(tls, config.users, has_login, config.headers)


def _identify(file: Path) -> _Identity:
    """Return what changes whenever a file is written or replaced; None without the file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
