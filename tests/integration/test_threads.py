"""Threads of a replica on a real broker, against the limit of the shipped compose file."""

import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deploy.stack import SERVICES
from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import ReplicaProcess
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc: run it on Linux"),
]

REQUESTS = 60
WINDOWS = 50
# The cluster that compose.yaml and the how-to allow for, and the margin of the other limits there.
BROKERS = 30
MARGIN = 2
# Of `30 x (brokers + 4)`, which the documents and an error's remedy say.
MOST_CLIENTS = 30
OTHERS = 4


def threads(service: ReplicaProcess) -> Counter[str]:
    """Return the number of threads by their names."""
    found: Counter[str] = Counter()
    for task in Path(f"/proc/{service.pid}/task").iterdir():
        # A thread may have ended meanwhile.
        with suppress(OSError):
            found[(task / "comm").read_text().strip()] += 1
    return found


class Peak:
    """The largest number of threads of a process while the context lasts."""

    def __init__(self, service: ReplicaProcess) -> None:
        self.threads = 0
        self._service = service
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.threads = max(self.threads, threads(self._service).total())

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)


def ask_at_once(service: ReplicaProcess, number: int) -> set[int]:
    """Send requests of all kinds from many clients at once; return the statuses."""
    statuses: list[int] = []

    def ask(client: int) -> None:
        hour_ms = START_MS + client % WINDOWS * HOUR_MS
        window = f"stream=alpha&window=1h&at={hour_ms}"
        paths = (f"/?{window}", f"/?q={client}", f"/api/v1/window?{window}", "/metrics")
        statuses.extend(service.get(path)[0] for path in paths)

    clients = [threading.Thread(target=ask, args=[client]) for client in range(number)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(PATIENCE_S)
    assert len(statuses) == 4 * number
    return set(statuses)


def test_replica_with_page_stays_below_limit_of_compose_file(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, settings={"page": {"enabled": True}})
    events = make_events("alpha", 20 * WINDOWS, start_ms=START_MS, span_ms=WINDOWS * HOUR_MS, seed=1)
    with case.serve() as service:
        with Peak(service) as peak:
            service.wait_until_ready()
            case.publish_last(events)
            case.wait_for_counts(service, case.counts_of(events))
            streams = "/api/v1/windows?stream=alpha&window=1h"
            service.wait_for("the page to have the windows", lambda: service.get(streams)[0] == 200)
            statuses = ask_at_once(service, REQUESTS)
            clients = threads(service)["rdk:main"]
        service.stop()
    assert statuses <= {200, 503}
    brokers = len(case.admin.list_topics().brokers)
    # Each client has a thread for each broker.
    expected = peak.threads + clients * (BROKERS - brokers)
    assert peak.threads <= MOST_CLIENTS * (brokers + OTHERS)
    assert MARGIN * expected <= MOST_CLIENTS * (BROKERS + OTHERS)
    for name in ("driftgauge", "page"):
        pids = SERVICES[name]["deploy"]["resources"]["limits"]["pids"]
        assert pids >= MOST_CLIENTS * (BROKERS + OTHERS), name
