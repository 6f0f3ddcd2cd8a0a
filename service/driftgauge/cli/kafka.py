"""`driftgauge kafka`: what an operator does to the service's topics."""

import click

from driftgauge.cli.transactions import transactions_group

__all__ = ["kafka_group"]


@click.group("kafka")
def kafka_group() -> None:
    """The service's topics in Kafka."""


kafka_group.add_command(transactions_group)
