"""Printing what the service makes of records."""

from collections.abc import Callable, Sequence

from driftgauge.cli.printing import print_blocks, print_json
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.events.records import RawRecord
from driftgauge.record_files import choose_topic

__all__ = ["inspect"]


def inspect(
    settings: Settings, topic: str | None, read: Callable[[str], Sequence[RawRecord]], *, as_json: bool
) -> bool:
    """Print what the service makes of a topic's records; return whether all are read and none is refused.

    Args:
        settings: The configuration.
        topic: The topic; None for the only one.
        read: Returns the records of the topic.
        as_json: Print one JSON object.

    Raises:
        ConfigError: The topic is none of the events topics, or there are several and none is named.
    """
    from driftgauge.inspection import report
    from driftgauge.inspection.inspector import Inspector
    from driftgauge.kafka.schema_registry import open_schema_registry

    topic = choose_topic(settings, topic)
    inputs = [each for name, each in settings.inputs.items() if name == topic]
    with open_schema_registry(settings, inputs, SYSTEM_CLOCK) as schemas:
        inspector = Inspector(settings, topic, schemas)
        inspected = inspector.inspect_all(read(topic), SYSTEM_CLOCK)
    if as_json:
        print_json(report.as_json(inspected, inspector.problems))
    else:
        blocks = [block for each in inspected for block in report.describe_record(each)]
        print_blocks([*blocks, *report.describe_summary(inspected, inspector.problems)])
    return all(each.rejection is None and not each.is_pending for each in inspected)
