"""Asking a service that runs whether it is alive, or ready: for supervisors that can only run a command."""

from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from driftgauge.config import HttpSettings

__all__ = ["ask", "url_of"]

_TIMEOUT_S = 3.0
# Far above what the service answers, far below what somebody else's server might.
_READ_BYTES = 1_000
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not listened on


def url_of(http: HttpSettings) -> str:
    """Return where a service with these settings is asked from its own machine; its port must not be 0."""
    host = _LOCAL.get(http.host, http.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"


def ask(url: str, *, ready: bool) -> tuple[bool, str]:
    """Ask the service at a URL whether it is ready, or else alive; return the answer, and it as a line."""
    where = f"{url.rstrip('/')}/{'readyz' if ready else 'livez'}"
    # A proxy that the environment names knows nothing of this machine's loopback.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(where, timeout=_TIMEOUT_S) as answer:
            status, body = answer.status, answer.read(_READ_BYTES)
    except HTTPError as error:
        with error:
            status, body = error.code, error.read(_READ_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        return False, f"{where} does not answer: {reason}"
    said = " ".join(body.decode(errors="replace").split())
    return status == 200, f"{where} answers {status}: {said}"  # noqa: PLR2004
