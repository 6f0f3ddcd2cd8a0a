"""`driftgauge kafka`: an operator's commands for the service's topics."""

from pathlib import Path

import click

from driftgauge.cli.options import config_option, read_settings
from driftgauge.cli.printing import json_option, print_blocks, print_json
from driftgauge.cli.progress import show_progress
from driftgauge.cli.transactions import transactions_group
from driftgauge.clock import SYSTEM_CLOCK

__all__ = ["kafka_group"]


@click.group("kafka")
def kafka_group() -> None:
    """Maintain the service's topics in Kafka."""


kafka_group.add_command(transactions_group)


@kafka_group.command("reshard")
@config_option
@click.option(
    "--to", "shards", type=click.IntRange(1, 1_024), required=True, help="The new number of shards."
)
@json_option
def _reshard(config_path: Path, shards: int, *, as_json: bool) -> None:
    """Rewrite the state for another number of shards while no replica runs.

    First stop the replicas that count. Wait until the others have applied all partials, then stop them too.
    Afterwards set `shards` in the configuration of all replicas and start them.
    """
    from driftgauge.kafka.reshard import reshard_topics

    settings = read_settings(config_path)
    with show_progress() as track:
        reshard_topics(settings, shards, SYSTEM_CLOCK, track)
    if as_json:
        print_json({"shards_before": settings.shards, "shards": shards})
    else:
        print_blocks(
            [
                f"rewrote the state of {settings.shards} shards to {shards} shards; "
                f"set shards: {shards} in the configuration of all replicas and start them"
            ]
        )
