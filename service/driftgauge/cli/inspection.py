"""Printing what the service makes of records."""

from collections.abc import Sequence

from driftgauge.cli.printing import print_report
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.events.records import RawRecord
from driftgauge.record_files import choose_topic

__all__ = ["inspect"]


def inspect(settings: Settings, records: Sequence[RawRecord], *, as_json: bool) -> bool:
    """Print what the service makes of records; return whether all are read and none is refused.

    Args:
        settings: The configuration.
        records: The records, each read as its topic is.
        as_json: Print one JSON object.

    Raises:
        ConfigError: A record's topic is none of the events topics, or it names none and they differ.
    """
    from driftgauge.inspection import report
    from driftgauge.inspection.inspector import Inspector
    from driftgauge.kafka.schema_registry import open_schema_registry

    for topic in {record.topic() for record in records}:
        choose_topic(settings, topic or None)
    with open_schema_registry(settings, settings.inputs.values(), SYSTEM_CLOCK) as schemas:
        inspector = Inspector(settings, schemas)
        inspected = inspector.inspect_all(records, SYSTEM_CLOCK)
    blocks = [block for each in inspected for block in report.describe_record(each)]
    blocks += report.describe_summary(inspected, inspector.problems)
    print_report(report.as_json(inspected, inspector.problems), lambda _: blocks, as_json=as_json)
    return all(each.rejection is None and not each.is_pending for each in inspected)
