"""`driftgauge status`: a table of the streams in the terminal."""

from itertools import chain
from pathlib import Path

import click

from driftgauge.cli.options import config_option, open_schemas, read_settings
from driftgauge.cli.printing import json_option, message, print_blocks, print_json
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import AuthorizationError, DriftgaugeError, InputError
from driftgauge.events.timestamps import LAST_MS
from driftgauge.layout import Table

__all__ = ["status_command"]


@click.command("status")
@config_option
@json_option
def status_command(config_path: Path, *, as_json: bool) -> None:
    """Show the status of every stream: its alarm, its last conclusion, and the health of its data.

    The topic of window results is read, so this works while no service runs, and needs no address or login of
    one. The last records of the events topics show whether the times of events can be right.
    """
    from driftgauge.page.api_records import StatusRecords, status_record
    from driftgauge.page.overview import Overview
    from driftgauge.page.refusals import HOUR_MS, Refusals
    from driftgauge.page.story import tell_cause, tell_concern, tell_since
    from driftgauge.page.words import STATE_WORDS, format_moment
    from driftgauge.report.event_times import describe_event_times
    from driftgauge.report.reading import topic_results
    from driftgauge.report.topic_range import TopicRange

    settings = read_settings(config_path)
    with show_progress() as track, topic_results(settings, SYSTEM_CLOCK, track) as material:
        for note in material.notes:
            message(note)
    now_ms = SYSTEM_CLOCK.wall_ms()
    refusals = Refusals()
    try:
        with TopicRange(settings.kafka, settings.topics.dead_letters, now_ms - HOUR_MS, LAST_MS) as span:
            for letter in chain.from_iterable(span.batches()):
                refusals.receive(letter)
    except (AuthorizationError, InputError) as error:
        message(f"refused events are not shown: {error}")
    for topic in settings.topics.events:
        try:
            with open_schemas(settings, settings.inputs_of(topic).values()) as schemas:
                for sentence in describe_event_times(settings, topic, schemas):
                    message(f"warning: {sentence}")
        except DriftgaugeError as error:
            message(f"the times of the events of {topic} are not checked: {error}")
    statuses = Overview(material.results.history, settings.by_stream, refusals).statuses(now_ms)
    if as_json:
        records = tuple(status_record(each, settings.by_stream.get(each.stream)) for each in statuses)
        print_json(StatusRecords(complete=not material.notes, problem=None, streams=records))
        return
    rows = [
        (
            each.stream,
            STATE_WORDS[each.state] + (" (old)" if each.is_old and each.sizes else ""),
            tell_since(each),
            "" if each.concluded_ms is None else format_moment(each.concluded_ms),
            " ".join([tell_cause(each), *(f"{tell_concern(concern, now_ms)}." for concern in each.concerns)]),
        )
        for each in statuses
    ]
    print_blocks([Table(("stream", "status", "when", "last conclusion", "why"), rows, text=(0, 1, 2, 3, 4))])
