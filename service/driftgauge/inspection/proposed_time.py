"""Which field of a topic's records is the event time, and how it is written."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import numpy as np

from driftgauge.config.inputs import TimeSource
from driftgauge.core.durations import format_duration
from driftgauge.events.clock_gaps import is_live
from driftgauge.events.sources import read_time
from driftgauge.inspection.proposed_vector import ProposedVector
from driftgauge.inspection.topic_fields import TopicField

__all__ = ["find_time"]

_DAY_MS, _MINUTE_MS = 86_400_000, 60_000
# The years 2001 to 2100: the numbers of no two units of time are both within.
_FIRST_MS, _LAST_MS = 1_000_000_000_000, 4_100_000_000_000
# How a time may be written, besides numbers of ms and RFC 3339.
_TIMES: tuple[dict[str, Any], ...] = ({}, {"unit": "s"}, {"unit": "us"}, {"unit": "ns"}, {"assume_utc": True})
_IS_TIME = re.compile(r".*(time|stamp|date|at|ts)(s|ms|us|ns|millis)?")


def find_time(fields: Sequence[TopicField], vector: ProposedVector, notes: list[str]) -> Mapping[str, object]:
    """Return where the event time is: of the times near the record's the earliest, better with its name.

    A time without an offset is read as UTC only if the records show that it is.
    """
    found, far = [], []
    for each in fields:
        for written in _TIMES if each is not vector.field else ():
            source = {**each.source, **written}
            lags = _lags(source, each.values)
            is_named = _IS_TIME.fullmatch(each.letters) is not None
            lag = median(lags) if len(lags) >= vector.expects(each) else np.inf
            if abs(lag) < (np.inf if is_named else _DAY_MS):
                is_local = "assume_utc" in written
                is_unsure = is_local and sum(map(is_live, lags)) < vector.expects(each)
                is_far = int(abs(lag) // _DAY_MS)
                found.append((is_unsure, not is_named, is_far, -lag, str(each), source, is_local))
                break
            far += [str(each)] if lag < np.inf else []
    if not found:
        notes.append("timestamp: the record's, since no field was found that may be the event's")
        notes += [f"timestamp: {each} may hold times, a day or more from the records'" for each in far]
        return {"record": "timestamp"}
    (is_unsure, _, days, lag, name, source, is_local), *others = sorted(found, key=lambda each: each[:4])
    if is_unsure:
        source = {kind: where for kind, where in source.items() if kind != "assume_utc"}
        notes.append(
            f"timestamp: {name} has no offset from UTC, and is refused; as UTC it would be "
            f"{format_duration(round(abs(lag) / _MINUTE_MS) * _MINUTE_MS)} "
            f"{'before' if lag < 0 else 'after'} the times of the records: "
            "add assume_utc: true only if it is UTC, else let producers write an offset, or map another "
            "field"
        )
    elif is_local:
        notes.append(
            f"timestamp: {name} has no offset from UTC; it is assumed to be in UTC, because that is within "
            "two minutes of the times of the records"
        )
    if days:
        notes.append(f"timestamp: it is {days:,} days from the times of the records")
    if others:
        notes.append(f"timestamp: times are also in {', '.join(other[4] for other in others)}")
    return source


def _lags(source: Mapping[str, object], values: Sequence[tuple[int, object]]) -> list[int]:
    """Return by how many ms the times of records are after those of a field, if these can be times."""
    time_source, lags = TimeSource.model_validate(source), []
    for stamp_ms, value in values:
        with suppress(ValueError):
            time_ms = read_time(time_source, value)
            lags += [stamp_ms - time_ms] if _FIRST_MS <= time_ms < _LAST_MS else []
    return lags
