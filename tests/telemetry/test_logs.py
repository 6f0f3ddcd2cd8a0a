"""The log as an operator's tools read it: lines on standard error, their fields, and remedies."""

import ast
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import driftgauge
from driftgauge.core.windows.deltas import LateEvents
from driftgauge.core.windows.shard import RoundResult
from driftgauge.telemetry.logs import JsonFormatter, count_messages
from driftgauge.telemetry.round_log import log_round
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import build_result
from tests.builders.telemetry import EVENTS
from tests.processes import run_python

SERVICE = Path(driftgauge.__file__).parent
LEVELS = {"WARNING", "ERROR", "CRITICAL"}
METHODS = {"warning", "error", "exception", "critical"}
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


def remedies(source: str) -> Iterator[tuple[int, bool]]:
    """Yield the line of each logged warning or error, and whether it has a remedy."""
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(func=ast.Attribute(ast.Name("_log"), method), keywords=keywords) if (
                method in METHODS
            ):
                extra = [each.value for each in keywords if each.arg == "extra"]
                yield call.lineno, any(isinstance(each, ast.Dict) and has_remedy(each) for each in extra)
            case ast.Call(
                func=ast.Attribute(attr="_log_event"), args=[ast.Attribute(attr=level), *_], keywords=keywords
            ) if level in LEVELS:
                yield call.lineno, any(each.arg == "remedy" for each in keywords)


def has_remedy(extra: ast.Dict) -> bool:
    return any(isinstance(key, ast.Constant) and key.value == "remedy" for key in extra.keys)


def test_every_warning_and_error_has_remedy():
    found = {
        f"{path.relative_to(SERVICE)}:{line}": remedy
        for path in sorted(SERVICE.rglob("*.py"))
        for line, remedy in remedies(path.read_text("utf-8"))
    }
    assert len(found) > 30, "the search finds the calls"
    assert [where for where, remedy in found.items() if not remedy] == []
    assert list(
        remedies('_log.info("a")\n_log.warning("b")\nself._log_event(logging.ERROR, "f", error=g)')
    ) == [
        (2, False),
        (3, False),
    ]
