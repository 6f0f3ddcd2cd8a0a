"""Printing what the service makes of records."""

from collections.abc import Callable, Sequence

import click

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.errors import ConfigError
from driftgauge.events.records import RawRecord

__all__ = ["inspect"]


def inspect(settings: Settings, topic: str | None, read: Callable[[str], Sequence[RawRecord]]) -> bool:
    """Print what the service makes of a topic's records; return whether none is refused.

    Args:
        settings: The configuration.
        topic: The topic; None for the only one.
        read: Returns the records of the topic.

    Raises:
        ConfigError: The topic is none of the events topics, or there are several and none is named.
    """
    from driftgauge.inspection.inspector import Inspector
    from driftgauge.inspection.report import describe_record, describe_summary

    listed = ", ".join(settings.topics.events)
    if topic is None and len(settings.topics.events) > 1:
        message = f"the configuration reads several topics; choose one with --topic: {listed}"
        raise ConfigError(message)
    topic = topic or settings.topics.events[0]
    if topic not in settings.topics.events:
        message = f"{topic} is not read; add it to topics.events, or choose one of: {listed}"
        raise ConfigError(message)
    inspector = Inspector(settings, topic)
    inspected = []
    for record in read(topic):
        each = inspector.inspect(record, SYSTEM_CLOCK.wall_ms())
        click.echo(describe_record(each))
        inspected.append(each)
    click.echo(describe_summary(inspected, inspector.problems))
    return all(each.rejection is None for each in inspected)
