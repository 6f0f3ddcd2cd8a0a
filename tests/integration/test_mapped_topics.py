"""Topics as others write them, watched by configuration alone: the examples of deploy/examples/inputs/."""

import re
from pathlib import Path

import pytest
import yaml

from driftgauge.record_files import read_sample
from tests.harness.case import Case
from tests.harness.service import ReplicaProcess, driftgauge

pytestmark = pytest.mark.broker

FOLDER = Path(__file__).parents[2] / "deploy" / "examples" / "inputs"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
SUMMARY = re.compile(
    r"^\d+ records: (\d+) accepted \((\d+) events\), (\d+) filtered, (\d+) refused .*$", re.M
)
OUTCOMES = ("accepted", "filtered", "rejected")


def publish_sample(case: Case, path: Path) -> int:
    """Publish the records of a sample; return their number."""
    records = read_sample(path, "", 0)
    producer = case.producer()
    for record in records:
        _, time_ms = record.timestamp()
        producer.produce(
            case.events_topic,
            record.value(),
            record.key(),
            partition=0,
            headers=list(record.headers()),
            timestamp=time_ms,
        )
    assert producer.flush(30) == 0
    return len(records)


def outcomes(service: ReplicaProcess, topic: str) -> tuple[int, ...]:
    scrape = service.scrape()
    values = (scrape.value("driftgauge_records_total", topic=topic, outcome=outcome) for outcome in OUTCOMES)
    return tuple(int(value or 0) for value in values)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_watched_by_configuration_alone(tmp_path: Path, bootstrap: str, example: Path) -> None:
    tree = yaml.safe_load(example.read_text("utf-8"))
    (mapping,) = tree["inputs"].values()
    streams = [stream["name"] for stream in tree["streams"]]
    # The broker would delete records as old as these.
    keep = {"retention.ms": "-1"}
    case = Case(tmp_path, bootstrap, streams=streams, partitions=1, topic_config=keep)
    case.settings = {"inputs": {case.events_topic: mapping}}
    case.write_config()
    read = publish_sample(case, example.with_suffix(".records.jsonl"))

    peeked = driftgauge("events", "peek", "--config", case.config, "--topic", case.events_topic)
    assert "no baseline" not in peeked.stdout
    summary = SUMMARY.search(peeked.stdout)
    assert summary is not None, peeked.stdout + peeked.stderr
    accepted, events, filtered, refused = map(int, summary.groups())

    with case.serve() as service:
        service.wait_for(
            "all records", lambda: sum(outcomes(service, case.events_topic)) == read, within_s=60
        )
        assert outcomes(service, case.events_topic) == (accepted, filtered, refused)
        assert service.counted() == events
        # In silence a window closes when its partitions are idle.
        service.wait_for("the windows", lambda: sum(case.final_counts().values()) == events)
        assert {stream for stream, *_ in case.final_counts()} == set(streams)
        service.stop()
