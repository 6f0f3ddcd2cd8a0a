"""The report on inspected records, for a terminal and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence

from driftgauge.core.partition import name_partition
from driftgauge.events.clock_gaps import ClockGaps
from driftgauge.events.conditions import Unmet
from driftgauge.events.records import NO_TIMESTAMP, RawRecord
from driftgauge.events.rejection import Reason
from driftgauge.events.sources import describe_source, to_text
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.events.unread_items import describe_unread
from driftgauge.inspection.inspector import InspectedRecord
from driftgauge.layout import Block, Table

__all__ = ["as_json", "describe_gaps", "describe_record", "describe_summary"]


def describe_record(inspected: InspectedRecord) -> list[Block]:
    """Return the report on a record: where it stands, what became of it, and its fields."""
    lines: list[Block] = [f"{_name(inspected.record)}: {_describe_outcome(inspected)}"]
    fields = [(each.name, f"{each.text}  ({each.source})") for each in inspected.found.fields]
    if fields:
        lines.append(Table((), fields, text=(0, 1)))
    shown = sum(each.name == "vector" for each in inspected.found.fields)
    if (more := len(inspected.found.dimensions) - shown) > 0:
        lines.append(f"  and {more:,} more {_events(more)}")
    return lines


def describe_gaps(inspected: Sequence[InspectedRecord]) -> list[str]:
    """Return a sentence for each stream whose times are whole hours from those of the records."""
    gaps = ClockGaps()
    for each in inspected:
        if each.found.time_ms is not None:
            for stream in {stream for stream, _ in each.found.dimensions}:
                gaps.add(stream, [each.record], [each.found.time_ms])
    return gaps.describe()


def _warn(inspected: Sequence[InspectedRecord]) -> list[str]:
    accepted = [items for each in inspected if each.events for items in each.found.lists]
    return [*describe_gaps(inspected), *describe_unread(accepted)]


def describe_summary(
    inspected: Sequence[InspectedRecord], problems: Mapping[str, list[str]], held: int | None = None
) -> list[Block]:
    """Return lines about all records: streams without a baseline, warnings, numbers by outcome.

    Args:
        inspected: The records.
        problems: Why streams have no usable baselines, by stream.
        held: About how many records the topic holds of which these are the last; None for a file.
    """
    unchecked = sorted({stream for each in inspected for stream in each.unchecked})
    lines: list[Block] = [
        f"stream {stream}: no baseline yet, so dimension and model version were not checked"
        f" ({'; '.join(problems[stream])})"
        for stream in unchecked
    ]
    lines += [f"warning: {warning}" for warning in _warn(inspected)]
    reasons = Counter(each.rejection.reason for each in inspected if each.rejection is not None)
    outcomes = Counter(_judge(each)[0] for each in inspected)
    events = sum(each.events for each in inspected)
    listed = ", ".join(f"{reasons[reason]:,} {reason}" for reason in Reason if reasons[reason])
    of = "" if held is None else f" of about {held:,}"
    total = len(inspected) if held is None else held
    summary = (
        f"{'' if held is None else 'the last '}{len(inspected):,}{of} {'record' if total == 1 else 'records'}"
        f": {outcomes['accepted']:,} accepted ({events:,} {_events(events)}), {outcomes['filtered']:,} "
        f"filtered, {outcomes['refused']:,} refused{f' ({listed})' if listed else ''}"
    )
    if held is not None and held > len(inspected) and not events:
        summary += "; a larger --last looks further back"
    return [*lines, summary]


def as_json(
    inspected: Sequence[InspectedRecord], problems: Mapping[str, list[str]], held: int | None = None
) -> dict[str, object]:
    """Return the report on all records as JSON values; see `describe_summary`."""
    unchecked = {stream for each in inspected for stream in each.unchecked}
    return {
        "records": list(map(_record, inspected)),
        **({} if held is None else {"held": held}),
        "streams_without_baseline": {stream: problems[stream] for stream in sorted(unchecked)},
        "warnings": _warn(inspected),
    }


def _record(inspected: InspectedRecord) -> dict[str, object]:
    record = inspected.record
    kind, time_ms = record.timestamp()
    outcome, reason, detail = _judge(inspected)
    return {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp_ms": None if kind == NO_TIMESTAMP else time_ms,
        "outcome": outcome,
        "events": inspected.events,
        "reason": reason,
        "detail": detail,
        "fields": [
            {"name": each.name, "text": each.text, "source": each.source} for each in inspected.found.fields
        ],
    }


def _judge(inspected: InspectedRecord) -> tuple[str, Reason | None, str | None]:
    """Return what became of a record, the reason of a refusal, and why it has no events."""
    if inspected.unmet is not None:
        return "filtered", None, _describe_unmet(inspected.unmet)
    if inspected.rejection is not None:
        return "refused", inspected.rejection.reason, inspected.rejection.detail
    return "accepted", None, None


def _name(record: RawRecord) -> str:
    where = f"{name_partition((record.topic() or '', record.partition() or 0))}@{record.offset()}"
    kind, time_ms = record.timestamp()
    has_time = kind != NO_TIMESTAMP and 0 <= time_ms <= LAST_MS
    return f"{where}, {format_timestamp(time_ms)}" if has_time else where


def _describe_outcome(inspected: InspectedRecord) -> str:
    outcome, reason, detail = _judge(inspected)
    why = detail if reason is None else f"{reason}: {detail}"
    return f"{outcome}, {why or f'{inspected.events:,} {_events(inspected.events)}'}"


def _describe_unmet(unmet: Unmet) -> str:
    condition = unmet.condition
    where = describe_source(condition)
    if condition.exists is not None:
        return f"{where} {'is missing' if condition.exists else 'exists'}"
    try:
        found = "missing" if unmet.found is None else repr(to_text(unmet.found))
    except ValueError as error:
        found = str(error)
    listed = ", ".join(map(to_text, condition.values or condition.not_in or ()))
    return f"{where} is {found}, {'' if condition.values is None else 'not '}one of: {listed}"


def _events(number: int) -> str:
    return "event" if number == 1 else "events"
