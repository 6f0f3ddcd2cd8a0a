"""HTTP probe of a running service, for supervisors that can only run a command."""

from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

__all__ = ["local_url", "probe"]

_TIMEOUT_S = 3.0
# The service answers with fewer bytes; another server at this address may send far more.
_MAX_BODY_BYTES = 1_000
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


def local_url(host: str, port: int) -> str:
    """Return the URL, on its own machine, of a service that listens there; the port must not be 0."""
    host = _LOOPBACK.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def probe(url: str, *, ready: bool) -> tuple[bool, str]:
    """Return whether the service at a URL is ready, or else alive, and its answer as one line."""
    endpoint = f"{url.rstrip('/')}/{'readyz' if ready else 'livez'}"
    # A proxy from the environment does not reach this machine's loopback.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(endpoint, timeout=_TIMEOUT_S) as response:
            status, body = response.status, response.read(_MAX_BODY_BYTES)
    except HTTPError as error:
        with error:
            status, body = error.code, error.read(_MAX_BODY_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        return False, f"{endpoint} does not answer: {reason}"
    text = " ".join(body.decode(errors="replace").split())
    return status == 200, f"{endpoint} answers {status}: {text}"  # noqa: PLR2004
