"""Printing what the service makes of records."""

from collections.abc import Collection, Sequence

from driftgauge.cli.printing import print_blocks, print_json
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.errors import ConfigError
from driftgauge.events.records import RawRecord

__all__ = ["inspect", "require_read"]


def require_read(settings: Settings, topics: Collection[str | None]) -> None:
    """Require that the configuration reads topics.

    Raises:
        ConfigError: One is none of the events topics.
    """
    listed = ", ".join(settings.topics.events)
    for topic in topics:
        if topic not in settings.topics.events:
            what = (
                f"{topic} is not read; add it to topics.events, or" if topic else "a record names no topic;"
            )
            message = f"{what} choose one with --topic: {listed}"
            raise ConfigError(message)


def inspect(settings: Settings, records: Sequence[RawRecord], *, as_json: bool) -> bool:
    """Print what the service makes of records; return whether all are read and none is refused.

    Args:
        settings: The configuration.
        records: The records, each read as its topic is.
        as_json: Print one JSON object.

    Raises:
        ConfigError: A record's topic is none of the events topics.
    """
    from driftgauge.inspection import report
    from driftgauge.inspection.inspector import Inspector
    from driftgauge.kafka.schema_registry import open_schema_registry

    require_read(settings, {record.topic() for record in records})
    with open_schema_registry(settings, settings.inputs.values(), SYSTEM_CLOCK) as schemas:
        inspector = Inspector(settings, schemas)
        inspected = inspector.inspect_all(records, SYSTEM_CLOCK)
    if as_json:
        print_json(report.as_json(inspected, inspector.problems))
    else:
        blocks = [block for each in inspected for block in report.describe_record(each)]
        print_blocks([*blocks, *report.describe_summary(inspected, inspector.problems)])
    return all(each.rejection is None and not each.is_pending for each in inspected)
