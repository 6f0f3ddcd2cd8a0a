"""Log lines: their form and remedies. The limit of memory, and the version, that a process reports."""

import ast
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import driftgauge
from driftgauge.telemetry.logs import JsonFormatter
from driftgauge.telemetry.memory_limit import memory_limit_bytes
from driftgauge.web.endpoints import version_route
from tests.builders.configs import MINIMAL
from tests.builders.page import get
from tests.harness.registry_server import serve_routes
from tests.processes import run_python
from tests.waiting import PATIENCE_S, wait_for

PROGRAM = """
import logging
from driftgauge.config import LogSettings
from driftgauge.telemetry.logs import adjust_logging, configure_logging
configure_logging(as_json={as_json})
logger = logging.getLogger("driftgauge.somewhere")
logger.debug("not shown")
adjust_logging(LogSettings(level="debug"))
logging.getLogger("httpx").debug("not shown")
adjust_logging(LogSettings(level="error", repeat_after="1h"))
logger.warning("not shown")
for number in range(3):
    for stream in ("images", "texts"):
        logger.error("late", extra={{"stream": stream, "waited_s": number / 2}})
adjust_logging(LogSettings(repeat_after="0s"))
logger.error("late", extra={{"stream": "images", "waited_s": 1.5}})
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
    *late, closed, failed = [json.loads(line) for line in process.stderr.splitlines()]
    assert [(each["stream"], each["waited_s"], each.get("left_out")) for each in late] == [
        ("images", 0, None),
        ("texts", 0, None),
        ("images", 1.5, 2),
    ]
    assert process.stdout == ""
    assert (closed["event"], closed["stream"], closed["events"]) == ("window closed", "images", 3)
    assert (failed["level"], failed["event"]) == ("error", "it failed")
    assert failed["exception"].startswith("Traceback")
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_text_goes_to_stderr_with_traceback_below():
    _, _, _, closed, failed, *traceback = run_python(PROGRAM.format(as_json=False)).stderr.splitlines()
    assert closed.endswith("Z INFO     window closed stream=images events=3")
    assert failed.endswith("ERROR    it failed")
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_service_logs_by_its_settings(tmp_path):
    config, log = tmp_path / "driftgauge.yaml", tmp_path / "log"
    config.write_text(f"{MINIMAL}\nhttp: {{port: 0}}\nlog: {{level: warning}}\n")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "driftgauge", "page", "--config", config], stderr=errors
        ) as process,
    ):
        try:
            wait_for("a warning", lambda: "the page cannot read a topic" in log.read_text())
        finally:
            process.terminate()
    assert process.returncode == 0
    # Start and end are messages of level info.
    assert "started" not in log.read_text()
    assert "stopped" not in log.read_text()


def test_process_ends_although_nobody_reads_its_log():
    program = "from driftgauge.watchdog import end_process; end_process('x' * 2**20, remedy='')"
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", program], stderr=writing) as process:
        assert process.wait(PATIENCE_S) == 1
    os.close(reading)
    os.close(writing)


SERVICE = Path(driftgauge.__file__).parent
LEVELS = {"WARNING", "ERROR", "CRITICAL"}
METHODS = {"warning", "error", "exception", "critical"}


def remedies(source: str) -> Iterator[tuple[int, bool]]:
    """Yield the line of each logged warning or error, and whether it has a remedy."""
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(func=ast.Attribute(ast.Name("_log"), method)) if method in METHODS:
                yield call.lineno, "'remedy':" in ast.unparse(call)
            case ast.Call(func=ast.Attribute(attr="_log_event"), args=[ast.Attribute(attr=level), *_]) if (
                level in LEVELS
            ):
                yield call.lineno, "remedy=" in ast.unparse(call)


def test_every_warning_and_error_has_remedy():
    found = {
        f"{path.relative_to(SERVICE)}:{line}": remedy
        for path in sorted(SERVICE.rglob("*.py"))
        for line, remedy in remedies(path.read_text("utf-8"))
    }
    assert len(found) > 30, "the search finds the calls"
    assert [where for where, remedy in found.items() if not remedy] == []


def test_search_finds_calls_without_remedy():
    source = """
_log.info("a")
_log.warning("b")
_log.error("c", extra={"remedy": "d"})
self._log_event(logging.INFO, "e")
self._log_event(logging.ERROR, "f", error=g)
self._log_event(logging.WARNING, "h", remedy="i")
"""
    assert list(remedies(source)) == [(3, False), (4, True), (6, False), (7, True)]


MIB = 2**20


def test_without_groups_limit_is_memory_of_machine(tmp_path):
    assert 64 * MIB < memory_limit_bytes(tmp_path) == memory_limit_bytes(tmp_path / "none")


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        pytest.param("0::/\n", {"memory.max": 512}, id="in a container"),
        pytest.param("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": 512}, id="of a group above"),
        pytest.param("0::/kubepods/pod\n", {"memory.max": 512}, id="path of the host"),
        pytest.param(
            "3:cpu:/x\n7:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": 512}, id="first version"
        ),
    ],
)
def test_limit_is_least_of_groups(tmp_path, groups, limits):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, limit in limits.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit if isinstance(limit, str) else limit * MIB}\n")
    assert memory_limit_bytes(tmp_path) == 512 * MIB


@pytest.mark.parametrize("commit", [None, "5f3c"])
def test_commit_is_that_of_image(tmp_path, commit):
    if commit is not None:
        (tmp_path / "commit.txt").write_text(f"{commit}\n")
    with serve_routes([version_route(tmp_path)]) as server:
        assert json.loads(get(server, "/version")[1])["commit"] == commit
