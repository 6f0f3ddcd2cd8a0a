"""The log as an operator's tools read it: lines on standard error, and their fields."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftgauge.core.windows.deltas import LateEvents
from driftgauge.core.windows.shard import RoundResult
from driftgauge.telemetry.logs import JsonFormatter, count_messages
from driftgauge.telemetry.round_log import log_round
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import build_result
from tests.builders.telemetry import EVENTS
from tests.processes import run_python
from tests.waiting import PATIENCE_S

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


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\ud800 alone", "naïve"])
def test_json_message_is_one_ascii_line(text):
    record = logging.LogRecord("driftgauge.x", logging.INFO, "x.py", 1, text, (), None)
    record.created = 1_700_000_000.25
    record.stream, record.js_divergence, record.thing = text, None, Path("a")
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": text,
        "logger": "driftgauge.x",
        "stream": text,
        "js_divergence": None,
        "thing": "a",
    }


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
    assert closed.endswith("Z INFO     window closed stream=images events=3")
    assert failed.endswith("ERROR    it failed")
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_process_ends_although_nobody_reads_its_log():
    program = "from driftgauge.telemetry.logs import end_process; end_process('x' * 2**20, remedy='')"
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", program], stderr=writing) as process:
        assert process.wait(PATIENCE_S) == 1
    os.close(reading)
    os.close(writing)


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


WINDOW = {"stream": "images", "window": "1h", "start_ms": HOUR_MS, "end_ms": 2 * HOUR_MS}


@pytest.mark.parametrize(
    ("round_", "fields"),
    [
        (
            RoundResult([build_result()]),
            {
                **WINDOW,
                "levelname": "INFO",
                "msg": "window closed",
                "events": 100,
                "verdict": "ok",
                "js_divergence": build_result().score.js_divergence,
                "noise_floor": 0.0011,
                "p_value": 0.23,
                "missing": [],
                "events_lost": False,
                "counted_twice": False,
            },
        ),
        (
            RoundResult(
                [
                    build_result(
                        (1, 0, 0, 0),
                        revision=1,
                        missing=((EVENTS, 12), (EVENTS, 1)),
                        incomplete_reason="counted_otherwise",
                        events_lost=True,
                        counted_twice=True,
                    )
                ]
            ),
            {
                **WINDOW,
                "msg": "window revised",
                "revision": 1,
                "verdict": "insufficient",
                "incomplete_reason": "counted_otherwise",
                **dict.fromkeys(("js_divergence", "noise_floor", "p_value")),
                "missing": ["embeddings[1]", "embeddings[12]"],
                "events_lost": True,
                "counted_twice": True,
            },
        ),
        (
            RoundResult([], [LateEvents("images", DAY_MS, 5, ((EVENTS, 1), 40))]),
            {"levelname": "WARNING", "window": "1d", "events": 5, "first": "embeddings[1]@40"},
        ),
        (
            RoundResult([], [], ["embeddings[1]: gap from offset 7 to 9"]),
            {"levelname": "ERROR", "shard": 3, "found": "embeddings[1]: gap from offset 7 to 9"},
        ),
    ],
    ids=["closed", "revised", "late", "chain"],
)
def test_round_of_a_shard_is_logged(caplog, round_, fields):
    caplog.set_level(logging.INFO, logger="driftgauge")
    log_round(3, round_)
    (record,) = caplog.records
    assert {name: getattr(record, name) for name in fields} == fields
