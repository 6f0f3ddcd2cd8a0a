"""`driftgauge accept-loss`: let a shard go on that stopped because records of its changelog are missing."""

from pathlib import Path

import click

from driftgauge.cli.options import config_option, read_settings
from driftgauge.cli.printing import message
from driftgauge.cli.publish import send
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.windows.changelog import AcceptedLoss, AcceptedLossKey
from driftgauge.errors import InputError
from driftgauge.kafka import client
from driftgauge.kafka.cluster import count_partitions
from driftgauge.records.changelog_records import encode_key, encode_value

__all__ = ["accept_loss_command"]


@click.command("accept-loss")
@config_option
@click.option("--shard", type=click.IntRange(min=0), required=True, help="The shard that the log names.")
def accept_loss_command(config_path: Path, shard: int) -> None:
    """Accept that records of a shard's changelog are lost.

    A shard stops if records of its changelog were deleted. After this command it goes on without them at the
    next restart of its replica. Windows that may have begun before then are marked with events_lost, if they
    can still change; published ones stay as they are, and some may be published again. For a shard that has
    not stopped the command changes nothing.
    """
    settings = read_settings(config_path)
    topic = settings.changelog_topic
    found = count_partitions(client.admin(settings.kafka), [topic]).get(topic, 0)
    if shard >= found:
        fault = (
            f"--shard {shard}: the topic {topic} has {found} partitions; take the shard that the log names"
        )
        raise InputError(fault)
    record = encode_value(AcceptedLoss(SYSTEM_CLOCK.wall_ms()))
    send(client.producer(settings.kafka), topic, [(encode_key(AcceptedLossKey()), record)], partition=shard)
    message(f"accepted for shard {shard}; restart the replicas whose log says that it stopped")
