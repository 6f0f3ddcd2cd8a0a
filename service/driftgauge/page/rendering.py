"""The page's HTML: templates with their filters."""

import re
from functools import cache
from importlib.metadata import version as version_of

from jinja2 import Environment, PackageLoader, StrictUndefined

from driftgauge.config.urls import fill_template
from driftgauge.core.durations import round_duration
from driftgauge.events.timestamps import format_timestamp, parse_timestamp
from driftgauge.page.advice import next_steps, remedy_of, runbook_of, silence_of
from driftgauge.page.chart import PLOT
from driftgauge.page.states import STATES
from driftgauge.page.story import (
    tell_age,
    tell_cause,
    tell_concern,
    tell_largest,
    tell_service_fault,
    tell_start,
)
from driftgauge.page.stream_page import grouped
from driftgauge.page.summary import VERDICTS
from driftgauge.page.words import (
    as_sentence,
    format_moment,
    format_number,
    format_p_value,
    format_percent,
    format_points,
    format_signed_percent,
)
from driftgauge.statistic_words import WORDS

__all__ = ["render"]

# Control characters, and those that turn the text around them: a name must not reverse a sentence.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render(template: str, **values: object) -> str:
    """Return a template's HTML; every value in it is escaped, and shows its control characters."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("driftgauge.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": format_moment,
        "timestamp": format_timestamp,
        "time_ms": parse_timestamp,
        "number": format_number,
        "percent": format_percent,
        "points": format_points,
        "signed_percent": format_signed_percent,
        "p_value": format_p_value,
        "duration": round_duration,
        "cause": tell_cause,
        "age": tell_age,
        "concern": tell_concern,
        "remedy": remedy_of,
        "service_fault": tell_service_fault,
        "largest": tell_largest,
        "grouped": grouped,
        "sentence": as_sentence,
        "start": tell_start,
        "fill": fill_template,
        "next_steps": next_steps,
        "runbook": runbook_of,
        "silence": silence_of,
    }
    environment.globals |= {
        "version": version_of("driftgauge"),
        "plot": PLOT,
        "verdicts": VERDICTS,
        "statistic_words": WORDS,
        "states": STATES,
    }
    return environment


def _visible(value: object) -> object:
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], value) if type(value) is str else value
