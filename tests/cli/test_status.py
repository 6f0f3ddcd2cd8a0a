"""`driftgauge status`: a table, and the records of the page's API."""

import json

import orjson
import pytest
from confluent_kafka import Producer
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from tests.builders.clocks import HOUR_MS
from tests.builders.configs import write_config
from tests.builders.page import record_tree
from tests.cli.command import run


def test_streams_of_topic_are_listed_with_alarm_cause_and_age(tmp_path):
    now_ms = SYSTEM_CLOCK.wall_ms()
    with EmbeddedBroker(["embeddings", "driftgauge.windows", "driftgauge.g.heartbeats"]) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        # The last is of another deployment.
        for stream in ("drifting", "elsewhere"):
            for number, verdict in enumerate(["ok", "drift", "insufficient"]):
                value = orjson.dumps(record_tree(number, verdict, stream=stream, segments=[]))
                producer.produce("driftgauge.windows", value, partition=0, timestamp=now_ms - 5 * HOUR_MS)
        assert producer.flush(60) == 0
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        # From the beginning: the embedded broker finds no offsets by time.
        streams = [{"windows": ["1h"]}, {"name": "drifting", "windows": ["1h"]}]
        config = write_config(tmp_path, *streams, kafka=kafka, page={"history": "25000d"})
        printed = run("status", "--config", config)
        records = run("status", "--config", config, "--json")
        producer.produce("driftgauge.windows", b"{}", partition=0, timestamp=now_ms)
        assert producer.flush(60) == 0
        partial = run("status", "--config", config, "--json")
    assert partial.returncode == 0
    assert (printed.returncode, printed.stderr) == (records.returncode, records.stderr) == (0, "")
    _, fault, _, heading, drifting, waiting = printed.stdout.splitlines()
    assert fault.strip().startswith("no replica is known to serve count, windows  see whether replicas run")
    assert heading.split()[:3] == ["stream", "status", "when"]
    for part in (
        "Drift (old)",
        "and 3 Nov 2025, 02:00 UTC (1h)",
        "Shift: inputs",
        "1h: no window after the one",
    ):
        assert part in drifting
    assert waiting.split() == ["images", "No", "window", "yet", "1h:", "no", "window", "yet."]
    assert waiting.index("1h:") == heading.index("why"), "no space before it"
    assert [json.loads(each.stdout)["complete"] for each in (records, partial)] == [True, False]
    assert [each["name"] for each in json.loads(records.stdout)["faults"]] == ["no_heartbeat"]
    streams = json.loads(records.stdout)["streams"]
    assert [(each["stream"], each["state"], each["old"]) for each in streams] == [
        ("drifting", "drift", True),
        ("images", "waiting", True),
    ]


@pytest.mark.parametrize(
    "arguments", [["status"], ["report", "--json"], ["dead-letters", "list"], ["dead-letters", "show"]]
)
def test_command_before_first_serve_says_what_creates_the_topic(tmp_path, arguments):
    with EmbeddedBroker(["embeddings", "driftgauge.marks"]) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        done = run(*arguments, "--config", write_config(tmp_path, kafka=kafka))
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist; start `driftgauge serve`, which creates it" in done.stderr
    assert "did you mean" not in done.stderr

    with EmbeddedBroker(["embedding"]) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        done = run(*arguments, "--config", write_config(tmp_path, kafka=kafka))
    assert (
        "topic embeddings does not exist; did you mean embedding? (`driftgauge serve` creates " in done.stderr
    )
