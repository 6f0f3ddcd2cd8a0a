"""What holds up the service: the same on page, API and `driftgauge status`. And marks reach its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

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
        marked = driftgauge("marks", "add", "--config", case.config, "--text", "v2 is live")
        assert marked.returncode == 0, marked.stderr
        service.wait_for("the mark in the metrics", lambda: "v2 is live" in service.get("/metrics")[1])
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
