import json
import logging
import subprocess
import sys

import pytest

from driftgauge.telemetry.logs import JsonFormatter, TextFormatter, count_messages

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


def logged_by_a_process(*, as_json):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(as_json=as_json)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def build_record(message="window closed", level=logging.INFO, **extra):
    record = logging.LogRecord("driftgauge.x", level, "x.py", 1, message, (), None)
    record.created = 1_700_000_000.25
    record.__dict__.update(extra)
    return record


def test_a_json_line_has_time_level_event_logger_and_what_the_message_carries():
    line = JsonFormatter().format(build_record(stream="images", js_divergence=None))
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "window closed",
        "logger": "driftgauge.x",
        "stream": "images",
        "js_divergence": None,
    }


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\ud800 alone", "naïve"])
def test_a_json_message_is_one_line_whatever_it_holds(text):
    line = JsonFormatter().format(build_record(text, reason=text, thing=object()))
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["event"] == text


def test_a_line_for_the_eye_holds_the_same():
    line = TextFormatter().format(build_record(stream="images", events=3))
    assert line == "2023-11-14T22:13:20.250Z INFO     window closed stream=images events=3"


def test_json_goes_to_standard_error_one_object_a_line_with_the_traceback_inside():
    process = logged_by_a_process(as_json=True)
    closed, failed = [json.loads(line) for line in process.stderr.splitlines()]
    assert process.stdout == ""
    assert (closed["event"], closed["stream"], closed["events"]) == ("window closed", "images", 3)
    assert (failed["level"], failed["event"]) == ("error", "it failed")
    assert failed["exception"].startswith("Traceback")
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_text_goes_to_standard_error_with_the_traceback_below():
    closed, failed, *traceback = logged_by_a_process(as_json=False).stderr.splitlines()
    assert closed.endswith("INFO     window closed stream=images events=3")
    assert failed.endswith("ERROR    it failed")
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_every_message_is_counted_with_its_level():
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
