"""`driftgauge status`: a table of the streams in the terminal."""

from pathlib import Path

import click

from driftgauge.cli.options import config_option, read_settings
from driftgauge.cli.printing import json_option, message, print_blocks, print_json
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.layout import Table

__all__ = ["status_command"]


@click.command("status")
@config_option
@json_option
def status_command(config_path: Path, *, as_json: bool) -> None:
    """Show the status of every stream: its alarm, its last conclusion, and the health of its data.

    First comes what holds up the service as a whole. The topics of window results and heartbeats are read, so
    this works while no service runs, and needs no address or login of one. Streams that the configuration
    does not name are left out.
    """
    from driftgauge.page.advice import remedy_of
    from driftgauge.page.api_records import status_records
    from driftgauge.page.overview import Overview
    from driftgauge.page.states import STATES
    from driftgauge.page.story import tell_age, tell_cause, tell_concern, tell_service_fault, tell_start
    from driftgauge.page.words import as_sentence, format_moment
    from driftgauge.report.reading import topic_results

    settings = read_settings(config_path)
    with show_progress() as track, topic_results(settings, SYSTEM_CLOCK, track) as material:
        for note in material.notes:
            message(note)
    now_ms = SYSTEM_CLOCK.wall_ms()
    service = material.watch.status(now_ms)
    statuses = Overview(material.results.history, settings).statuses(now_ms, service)
    if as_json:
        records = status_records(
            statuses,
            settings.by_stream,
            service.faults,
            settings.page.runbooks_url,
            complete=not material.notes,
            problem=None,
        )
        print_json(records)
        return
    faults = [
        (f"{tell_service_fault(each)}{tell_age(each.since_ms, now_ms)}", remedy_of(each)[0])
        for each in service.faults
    ]
    rows = [
        (
            each.stream,
            STATES[each.state].words + (" (old)" if each.is_old and each.sizes else ""),
            "" if each.leading is None else f"{tell_start(each.leading)} ({each.leading.size})",
            "" if each.concluded_ms is None else format_moment(each.concluded_ms),
            " ".join(
                [
                    *filter(None, [tell_cause(each)]),
                    *(f"{tell_concern(one)}." for one in each.concerns),
                    *map(as_sentence, each.notes),
                ]
            ),
        )
        for each in statuses
    ]
    if faults:
        print_blocks([Table(("service", "what to do"), faults, text=(0, 1)), ""])
    print_blocks([Table(("stream", "status", "began", "last conclusion", "why"), rows, text=(0, 1, 2, 3, 4))])
