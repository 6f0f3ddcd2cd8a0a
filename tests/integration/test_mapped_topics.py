"""Topics as others write them, watched by configuration alone: the examples of deploy/examples/inputs/."""

from pathlib import Path

import pytest
import yaml

from driftgauge.record_files import read_sample
from tests.builders.input_examples import FOLDER, SCHEMAS, read_table, sample_of, summary_of
from tests.cli.command import run
from tests.harness.case import Case
from tests.harness.registry_server import serve_schemas
from tests.harness.service import ReplicaProcess

pytestmark = pytest.mark.broker

OUTCOMES = read_table()
DIMENSION = 8


def publish_sample(case: Case, sample: Path, topic: str) -> None:
    producer = case.producer()
    for record in read_sample(sample, "", 0):
        headers, (_, time_ms) = list(record.headers()), record.timestamp()
        producer.produce(topic, record.value(), record.key(), 0, headers=headers, timestamp=time_ms)
    assert producer.flush(30) == 0


def counted(service: ReplicaProcess, topic: str) -> list[int]:
    scrape = service.scrape()
    outcomes = ("accepted", "filtered", "rejected")
    values = (scrape.value("driftgauge_records_total", topic=topic, outcome=outcome) for outcome in outcomes)
    return [int(value or 0) for value in values]


def test_examples_are_watched_by_configuration_alone(tmp_path: Path, bootstrap: str) -> None:
    trees = {name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8")) for name in OUTCOMES}
    streams = {stream["name"] for tree in trees.values() for stream in tree["streams"]}
    # The broker would delete records as old as these.
    keep = {"retention.ms": "-1"}
    case = Case(
        tmp_path, bootstrap, streams=sorted(streams), dimension=DIMENSION, partitions=1, topic_config=keep
    )
    topics = {name: f"{case.name}.{name}" for name in OUTCOMES}
    case.further_topics = list(topics.values())
    mappings = {topics[name]: mapping for name, tree in trees.items() for mapping in tree["inputs"].values()}
    for name, topic in topics.items():
        case.create(topic, 1, **keep)
        publish_sample(case, sample_of(name), topic)
    with serve_schemas(SCHEMAS) as url:
        case.settings = {"inputs": mappings, "schema_registry": {"url": url}}
        case.write_config()
        for name, topic in topics.items():
            peeked = run("events", "peek", "--config", case.config, "--topic", topic)
            assert "no baseline" not in peeked.stdout
            assert summary_of(OUTCOMES[name]) in peeked.stdout
        expected = {topics[name]: [accepted, *more] for name, (accepted, _, *more) in OUTCOMES.items()}
        events = sum(outcome[1] for outcome in OUTCOMES.values())
        with case.serve() as service:
            service.wait_for(
                lambda: f"{expected}, found { {topic: counted(service, topic) for topic in expected} }",
                lambda: all(counted(service, topic) == outcome for topic, outcome in expected.items()),
            )
            assert service.counted() == events
            # In silence a window closes when its partitions are idle.
            service.wait_for("the windows", lambda: sum(case.final_counts().values()) == events)
            assert {stream for stream, *_ in case.final_counts()} == streams
            service.stop()
