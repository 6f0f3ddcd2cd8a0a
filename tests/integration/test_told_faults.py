"""What holds up the service and whose records are refused: the same on page, API and `driftgauge status`."""

import json
from pathlib import Path
from typing import Any

import pytest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.counting.partial import shard_of
from tests.builders.html import Elements
from tests.harness.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.service import ReplicaProcess, driftgauge
from tests.harness.topics import TIMEOUT_S
from tests.harness.traffic import open_transaction

pytestmark = pytest.mark.broker


def api(page: ReplicaProcess) -> Any:
    return json.loads(page.get("/api/v1/streams")[1])


def faults(answer: Any) -> dict[str, str]:
    return {each["name"]: each["text"].partition(" (replica ")[0] for each in answer["faults"]}


def assert_told_alike(case: Case, page: ReplicaProcess, wanted: dict[str, str]) -> None:
    """Wait until the page of another process has these faults, and no others; check page, API and status."""
    page.wait_for(f"the faults {wanted}", lambda: faults(api(page)) == wanted)
    shown = Elements(page.get("/")[1]).text
    for text in wanted.values():
        assert f"{text[0].upper()}{text[1:]}" in shown
    done = driftgauge("status", "--config", case.config, "--json")
    assert faults(json.loads(done.stdout)) == wanted, done.stderr


def test_refused_records_without_a_window_or_a_name_are_told(tmp_path: Path, bootstrap: str) -> None:
    names = [f"cam-{number}" for number in range(100)]
    surplus = next(name for name in names[1:] if shard_of(name, 4) == shard_of("cam-0", 4))
    refused = next(name for name in names[1:] if name != surplus)
    entry = {"match": "cam-*", "most": 1, "baseline": "cam-0.safetensors", "windows": ["1h"]}
    case = Case(tmp_path, bootstrap, streams=("alpha", "cam-0", "local"), partitions=2, shards=4)
    case.settings = {"streams": [case._stream("alpha"), case._stream("local"), entry]}
    case.write_config()
    alpha, first, other = (
        make_events(stream, 120, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=seed)
        for seed, stream in enumerate(("alpha", "cam-0", surplus))
    )
    wrong = [
        json.dumps({"stream": refused, "timestamp": START_MS, "embedding": [1.0]}).encode() for _ in range(30)
    ]
    with case.serve() as service, ReplicaProcess(case.config, tmp_path / "page.log", role=None) as page:
        service.wait_until_ready()
        case.publish(alpha + first)
        service.wait_for("both streams to be counted", lambda: service.counted() == 240)
        service.wait_for("windows", lambda: len(case.final_counts()) >= 2)
        case.publish(other)
        producer = case.producer()
        for value in [b"{"] * 100 + wrong:
            producer.produce(case.events_topic, value)
        assert producer.flush(TIMEOUT_S) == 0
        earlier_ms = SYSTEM_CLOCK.wall_ms() - 5 * HOUR_MS
        case.publish(make_events("local", 10, start_ms=earlier_ms, span_ms=1_000, seed=3))
        wanted = {
            "refused": f"of the records of the topic {case.events_topic} read in the last hour, 100 of 500 "
            "were refused and name no stream, most as undecodable",
            "surplus": "120 events read in the last hour are in no window: more streams match cam-* than its "
            "most",
        }
        assert_told_alike(case, page, wanted)
        said = (
            "in 10 of 10 records the event time is 5h before the record's time: these look like local times"
        )
        done = driftgauge("status", "--config", case.config, "--json")
        for answer in (api(page), json.loads(done.stdout)):
            notes = {each["stream"]: each["notes"] for each in answer["streams"]}
            assert notes["alpha"] == []
            assert notes["local"][0].startswith(said)
        logged = service.wait_for_log("the events of a stream are whole hours from their records")
        assert (logged["stream"], str(logged["found"]).startswith(said)) == ("local", True)
        states = {each["stream"]: each["state"] for each in api(page)["streams"]}
        # Names beyond `most` are told together.
        assert states["cam-*"] == "refused"
        assert states["alpha"] != "refused"


def test_cause_of_a_stall_is_told_by_a_page_that_counts_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=2, further_topics=[missing := f"{tmp_path.name}.missing"])
    with case.serve() as service, ReplicaProcess(case.config, tmp_path / "page.log", role=None) as page:
        page.wait_for("the missing topic", lambda: "missing_topic" in faults(api(page)))
        (stream,) = api(page)["streams"]
        assert (stream["state"], stream["next_steps"][0]) == (
            "waiting",
            f"The topic {missing} does not exist: create it, or correct topics.events.",
        )
        case.create(missing, 1)
        service.wait_until_ready()
        assert case.count_partitions(f"driftgauge.{case.name}.heartbeats") == 1
        event = make_events("alpha", 1, start_ms=START_MS, span_ms=HOUR_MS, seed=1)[0]
        behind = [SourceEvent("alpha", event.time_ms, event.vector, 1)]
        producer = open_transaction(case, behind, **{"transaction.timeout.ms": 600_000})
        stalled = "a transaction does not end, and records after it are not read: "
        wanted = {"transaction": f"{stalled}{case.events_topic}[1]"}
        assert_told_alike(case, page, wanted)
        (stream,) = api(page)["streams"]
        assert stream["next_steps"][0].startswith(f"A{stalled[1:]}{case.events_topic}[1] (replica ")
        producer.commit_transaction(TIMEOUT_S)
        assert_told_alike(case, page, {})
        service.kill()
        assert_told_alike(case, page, {"no_heartbeat": "no replica is known to serve count, windows"})
