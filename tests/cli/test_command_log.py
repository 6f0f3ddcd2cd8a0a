"""The log of a command: what reaches standard error beside its own messages."""

import logging

import pytest
from click.testing import CliRunner

from driftgauge.cli.command_log import CommandLog
from tests.builders.configs import write_config
from tests.cli.command import run

FAIL = (
    "FAIL [driftgauge#producer-7] [thrd:10.0.0.1:9092/bootstrap]: 10.0.0.1:9092/bootstrap: Connect to "
    "ipv4#10.0.0.1:9092 failed: Connection refused (after {}ms in state CONNECT)"
)
REFUSED = "10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
RECORD = {"topic": "orders", "remedy": "look at it"}


@pytest.mark.parametrize(
    ("name", "lines", "error", "printed"),
    [
        ("librdkafka", [FAIL.format(0), FAIL.format(7)], "no answer", [f"the client's log: {REFUSED}"]),
        ("librdkafka", [FAIL.format(0)], f"this client cannot connect ({REFUSED} (after 3ms)); check", []),
        ("librdkafka", [FAIL.format(0)], None, []),
        (
            "driftgauge.page.results",
            ["a record is odd"],
            None,
            ["warning: a record is odd (topic: orders; remedy: look at it)"],
        ),
    ],
)
def test_lines_of_clients_come_after_the_error_that_says_less(name, lines, error, printed):
    log = CommandLog()
    fields = {} if name == "librdkafka" else RECORD
    with CliRunner().isolation() as (_, stderr, _):
        for line in lines:
            log.handle(logging.makeLogRecord({"name": name, "levelno": logging.ERROR, "msg": line, **fields}))
        if error is not None:
            log.explain(error)
        found = stderr.getvalue().decode().splitlines()
    assert found == printed


def test_error_of_a_connection_is_one_line(tmp_path):
    config = write_config(tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
    done = run("events", "peek", "--config", config, "--topic", "embeddings")
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftgauge: this client cannot connect to the Kafka cluster (127.0.0.1:1")
