"""A backlog of large records: what one replica takes of memory, and that no record is missing."""

import logging
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.harness.broker import Broker
from tests.harness.case import DAY_MS, START_MS, Case, make_events
from tests.harness.fixtures import running
from tests.harness.service import ReplicaProcess
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

LIMIT_MIB = 400
MB = 1_000_000
# Below what the topic of dead letters accepts, so that these are written whole.
SMALLER = 990_000


def sound(size: int) -> bytes:
    """Return an event of this size, most of it a field that the service does not read."""
    (event,) = make_events("alpha", 1, start_ms=START_MS + DAY_MS, span_ms=1, seed=1)
    return orjson.dumps({**orjson.loads(event.value), "prompt": "x" * size})


def garbage(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


CASES = {
    "sound": (1_000, sound(SMALLER), "accepted"),
    "garbage": (1_000, garbage(SMALLER), "undecodable"),
    "largest": (60, garbage(10 * MB), "too_large"),
}


@pytest.mark.parametrize(("number", "value", "outcome"), CASES.values(), ids=CASES)
def test_backlog_of_large_records_stays_below_limit_of_memory(
    tmp_path: Path, number: int, value: bytes, outcome: str
) -> None:
    with running(lambda: Broker(settings={"message.max.bytes": 11 * MB})) as broker:
        case = Case(tmp_path, broker.bootstrap, stream_settings={"idle_timeout": "1h"})
        producer = case.producer(**{"message.max.bytes": 11 * MB})
        for _ in range(number):
            producer.produce(case.events_topic, value)
            producer.poll(0)
        assert producer.flush(TIMEOUT_S) == 0
        with case.serving() as service:
            service.wait_for(
                "all records to be read", lambda: service.scrape().outcomes().get(outcome) == number
            )
            peak_mib = peak_memory_mib(service)
        _log.info("%s: at most %d MiB resident", outcome, peak_mib)
        assert peak_mib < LIMIT_MIB
        assert len(case.dead_letters()) == (0 if outcome == "accepted" else number)


def peak_memory_mib(service: ReplicaProcess) -> int:
    """Return the largest resident memory that the process has had so far."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // 1024
