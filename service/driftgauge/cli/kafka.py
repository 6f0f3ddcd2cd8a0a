"""`driftgauge kafka`: what an operator does to the service's topics."""

from pathlib import Path

import click

from driftgauge.cli.options import config_option, progress, settings_of
from driftgauge.cli.transactions import transactions_group
from driftgauge.clock import SYSTEM_CLOCK

__all__ = ["kafka_group"]


@click.group("kafka")
def kafka_group() -> None:
    """The service's topics in Kafka."""


kafka_group.add_command(transactions_group)


@kafka_group.command("reshard")
@config_option
@click.option("--to", "shards", type=click.IntRange(1, 1_024), required=True, help="The number of shards.")
def _reshard(config_path: Path, shards: int) -> None:
    """Rewrite the state for another number of shards, while no replica runs.

    Stop the replicas that count, wait until the others have applied all partials, and stop them as well.
    Afterwards set `shards` in the configuration of all replicas and start them.
    """
    from driftgauge.kafka.reshard import reshard_topics

    settings = settings_of(config_path)
    reshard_topics(settings, shards, SYSTEM_CLOCK)
    progress(
        f"wrote the state of {settings.shards} shards to {shards}; "
        f"set shards: {shards}, and start the replicas"
    )
