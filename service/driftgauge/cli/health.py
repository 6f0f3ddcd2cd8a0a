"""`driftgauge health`: supervisors run it every few seconds, so it loads nothing that it does not need."""

from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import click

from driftgauge.cli.printing import json_option, print_json, print_line

__all__ = ["health_command"]

_TIMEOUT_S = 3.0
# The service answers with fewer bytes; another server at this address may send far more.
_MAX_BODY_BYTES = 1_000
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


@click.command("health")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Probe the service of this configuration.",
)
@click.option(
    "--url", help="Probe the service at this URL.  [default: that of --config, or http://127.0.0.1:9465]"
)
@click.option("--ready", is_flag=True, help="Probe readiness instead of liveness.")
@json_option
@click.pass_context
def health_command(
    ctx: click.Context, config_path: Path | None, url: str | None, *, ready: bool, as_json: bool
) -> None:
    """Probe a running service; exit with 0 if it is alive, otherwise with 1."""
    if config_path is not None and url is None:
        from driftgauge.cli.options import read_settings

        http = read_settings(config_path, connects=False).http
        url = _local_url(http.host, http.health)
    is_healthy, line = _probe(url or _local_url("127.0.0.1", 9465), ready=ready)
    if as_json:
        print_json({"healthy": is_healthy, "answer": line})
    else:
        print_line(line)
    ctx.exit(0 if is_healthy else 1)


def _local_url(host: str, port: int) -> str:
    """Return the URL, on its own machine, of a service that listens there; the port must not be 0."""
    host = _LOOPBACK.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _probe(url: str, *, ready: bool) -> tuple[bool, str]:
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
