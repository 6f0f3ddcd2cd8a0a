"""Tests of `driftgauge.telemetry.logs`."""

import json
import logging

import pytest

from driftgauge.telemetry.logs import JsonFormatter, TextFormatter, count_messages
from tests.processes import run_python

PROGRAM = """
import logging
from driftgauge.telemetry.logs import configure_logging
configure_logging(as_json={as_json})
logger = logging.getLogger("driftgauge.somewhere")
logger.debug("not shown")
logger.info("window closed", extra={{"stream": "images", "events": 3}})
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("it failed")
"""


def build_log_record(message="window closed", level=logging.INFO, **extra):
    record = logging.LogRecord("driftgauge.x", level, "x.py", 1, message, (), None)
    record.created = 1_700_000_000.25
    record.__dict__.update(extra)
    return record


def test_json_line_has_time_level_event_logger_and_extra_fields():
    line = JsonFormatter().format(build_log_record(stream="images", js_divergence=None))
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "window closed",
        "logger": "driftgauge.x",
        "stream": "images",
        "js_divergence": None,
    }


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\ud800 alone", "naïve"])
def test_json_message_is_one_ascii_line(text):
    line = JsonFormatter().format(build_log_record(text, reason=text, thing=object()))
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["event"] == text


def test_text_line_has_time_level_event_and_extra_fields():
    line = TextFormatter().format(build_log_record(stream="images", events=3))
    assert line == "2023-11-14T22:13:20.250Z INFO     window closed stream=images events=3"


def test_json_goes_to_stderr_with_traceback_as_field():
    process = run_python(PROGRAM.format(as_json=True))
    closed, failed = [json.loads(line) for line in process.stderr.splitlines()]
    assert process.stdout == ""
    assert (closed["event"], closed["stream"], closed["events"]) == ("window closed", "images", 3)
    assert (failed["level"], failed["event"]) == ("error", "it failed")
    assert failed["exception"].startswith("Traceback")
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_text_goes_to_stderr_with_traceback_below():
    closed, failed, *traceback = run_python(PROGRAM.format(as_json=False)).stderr.splitlines()
    assert closed.endswith("INFO     window closed stream=images events=3")
    assert failed.endswith("ERROR    it failed")
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_message_is_counted_by_level():
    root = logging.getLogger()
    before = list(root.handlers)
    levels = []
    try:
        count_messages(levels.append)
        logging.getLogger("driftgauge.y").warning("one")
        logging.getLogger("another").error("two")
    finally:
        root.handlers[:] = before
    assert levels == [logging.WARNING, logging.ERROR]
