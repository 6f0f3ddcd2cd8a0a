"""`driftgauge demo`: the published story, and its live traffic in parts."""

from pathlib import Path

import click
from click.core import ParameterSource

from driftgauge.cli.options import FILE, FOLDER, config_option, settings_of
from driftgauge.clock import SYSTEM_CLOCK

__all__ = ["demo_group"]


@click.group("demo", invoke_without_command=True)
@click.option("--out", type=FOLDER, default="demo-out", show_default=True)
@click.option("--keep", is_flag=True, help="Keep running with fresh traffic once the story is told.")
@click.pass_context
def demo_group(ctx: click.Context, out: Path, *, keep: bool) -> None:
    """Tell the published story on this machine alone: three weeks of clean, blurred, darkened images.

    The commands below are its live traffic in parts, for a broker and a service of their own.
    """
    if ctx.invoked_subcommand is None:
        from deploy.demo.run import tell

        tell(out, keep=keep)
        return
    for name in ctx.params:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            message = (
                f"--{name} before a command is of the story, not of {ctx.invoked_subcommand}; leave it out"
            )
            raise click.UsageError(message)


@demo_group.command("prepare")
@click.option("--out", type=FOLDER, required=True, help="The folder to write into.")
def _prepare(out: Path) -> None:
    """Train the network, and fit the baseline of the live traffic's stream."""
    from deploy.demo.live import LIVE_STREAM
    from deploy.demo.source import train_source

    from driftgauge.baseline.artifact import save

    source = train_source()
    network, baseline = out / "network.safetensors", out / f"{LIVE_STREAM}.safetensors"
    source.network.save(network)
    save(source.fit(LIVE_STREAM, SYSTEM_CLOCK.wall_ms()), baseline)
    click.echo(f"trained {network}, fitted {baseline}")


@demo_group.command("publish")
@click.argument("network", type=FILE)
@config_option
def _publish_live(network: Path, config_path: Path) -> None:
    """Publish the live traffic of the trained NETWORK until SIGTERM, a week under each condition.

    A day of the story lasts as long as the stream's shortest window.
    """
    from deploy.demo.live import publish_until_stopped
    from deploy.demo.source import load_source

    publish_until_stopped(
        settings_of(config_path), load_source(network), clock_ms=SYSTEM_CLOCK.wall_ms, say=click.echo
    )


if __name__ == "__main__":
    demo_group(prog_name="python -m deploy.demo")
