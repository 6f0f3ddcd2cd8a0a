"""`driftgauge health`: supervisors run it every few seconds, so it loads nothing that it does not need."""

from pathlib import Path

import click

from driftgauge.cli.printing import json_option, print_json, print_line
from driftgauge.errors import ConfigError
from driftgauge.telemetry.probe import local_url, probe

__all__ = ["health_command"]


@click.command("health")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Probe the service of this configuration.",
)
@click.option("--url", help="Probe the service at this URL.  [default: http://127.0.0.1:9465]")
@click.option("--ready", is_flag=True, help="Probe readiness instead of liveness.")
@json_option
@click.pass_context
def health_command(
    ctx: click.Context, config_path: Path | None, url: str | None, *, ready: bool, as_json: bool
) -> None:
    """Probe a running service; exit with 0 if it is alive, otherwise with 1."""
    if config_path is not None and url is not None:
        message = "--config and --url both name a service; give only one"
        raise ConfigError(message)
    if config_path is not None:
        from driftgauge.cli.options import read_settings

        http = read_settings(config_path, connects=False).http
        url = local_url(http.host, http.health)
    is_healthy, line = probe(url or local_url("127.0.0.1", 9465), ready=ready)
    if as_json:
        print_json({"healthy": is_healthy, "answer": line})
    else:
        print_line(line)
    ctx.exit(0 if is_healthy else 1)
