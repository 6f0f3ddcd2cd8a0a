"""Checks at the end of a run: each compares actual with expected values and lists the mismatches."""

import operator
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message

from tests.chaos.expected_counts import WindowKey
from tests.chaos.results import PublishedRevision
from tests.chaos.workload import PARTITIONS, Fault, Workload
from tests.harness.gauges import compare_gauges
from tests.harness.scrape import Scrape

# The replay may count other late events in at most this share of the windows.
MAX_DIFFERING = 0.1


@dataclass
class Check:
    """The outcome of one kind of check.

    Attributes:
        name: What is checked.
        checked: The number of comparisons.
        mismatches: A description of each difference.
    """

    name: str
    checked: int = 0
    mismatches: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.checked > 0 and not self.mismatches

    def compare(self, what: object, found: object, expected: object) -> None:
        self.checked += 1
        if found != expected:
            self.mismatches.append(f"{what}: {found}, not {expected}")


def check_log(messages: Iterable[Message], workload: Workload, folder: Path) -> tuple[Check, list[Path]]:
    """Check that every partition of the events topic holds the events sent to it, once and in order.

    It also writes each partition to a file for `driftgauge replay`, without the late events: a replay reads
    one file after the other, so its windows become final later.
    """
    check = Check("events in the log as sent")
    rows = [iter(np.flatnonzero(workload.partition == partition).tolist()) for partition in range(PARTITIONS)]
    paths = [folder / f"partition-{partition:02}.jsonl" for partition in range(PARTITIONS)]
    offsets = [0] * PARTITIONS
    files = [path.open("wb") for path in paths]
    try:
        for message in messages:
            partition, value = message.partition() or 0, message.value() or b""
            row = next(rows[partition], None)
            if row is None or not workload.late[row]:
                files[partition].write(value + b"\n")
            expected = None if row is None else workload.value(row)
            position = f"partition {partition} offset {offsets[partition]}"
            check.compare(position, (message.offset(), value), (offsets[partition], expected))
            offsets[partition] += 1
    finally:
        for file in files:
            file.close()
    for partition, missing in enumerate(rows):
        check.mismatches += [f"partition {partition}: event {row} is missing" for row in missing]
    return check, paths


def check_revisions(results: Iterable[PublishedRevision]) -> Check:
    """Check that each window has the revisions 0, 1, 2 and so on, in order, and that no count decreases."""
    check = Check("results: each revision once, none missing")
    last: dict[WindowKey, PublishedRevision] = {}
    for result in results:
        stream, window, _ = result.key
        previous = last.get(result.key)
        last[result.key] = result
        expected = 0 if previous is None else previous.revision + 1
        check.compare(f"revision of {result.key}", result.revision, expected)
        if result.name != f"{stream}/{window}/{result.document['start']}":
            check.mismatches.append(f"a result of {result.key} has the key {result.name}")
        if previous is not None and any(map(operator.lt, result.counts, previous.counts)):
            check.mismatches.append(f"revision {result.revision} of {result.key} decreases a count")
    return check


def check_unmarked(results: Iterable[PublishedRevision]) -> Check:
    """Check that no window is marked for lost events, events counted twice or another reason."""
    check = Check("no window marked events_lost, counted_twice or incomplete")
    for result in results:
        marks = [result.document[name] for name in ("events_lost", "counted_twice", "incomplete_reason")]
        check.compare(f"marks of revision {result.revision} of {result.key}", marks, [False, False, None])
    return check


def check_gauges(scrapes: Mapping[str, Scrape], final: Mapping[WindowKey, PublishedRevision]) -> Check:
    """Check that exactly one replica shows the newest window of each stream and size, as last published."""
    check = Check("gauges of the streams' owners as published")
    documents = {key: result.document for key, result in final.items()}
    for series, (found, expected) in compare_gauges(scrapes.values(), documents).items():
        check.compare(f"{series}, by the replicas that show it", found, expected)
    return check


def check_dead_letters(letters: Iterable[Message], workload: Workload, topic: str) -> Check:
    """Check that each invalid event, and no other, is a dead letter once, unchanged and with its reason."""
    check = Check("dead letters: each invalid event once")
    expected: dict[tuple[str, ...], tuple[str, bytes]] = {}
    for partition in range(PARTITIONS):
        rows = np.flatnonzero(workload.partition == partition)
        for offset in np.flatnonzero(workload.fault[rows]).tolist():
            row = int(rows[offset])
            reason = Fault(int(workload.fault[row])).name.lower()
            expected[topic, str(partition), str(offset)] = reason, workload.value(row)
    found: defaultdict[tuple[str, ...], list[tuple[str, Message]]] = defaultdict(list)
    for letter in letters:
        headers = {name: bytes(value or b"").decode() for name, value in letter.headers() or []}
        source = tuple(headers[f"driftgauge.{part}"] for part in ("topic", "partition", "offset"))
        found[source].append((headers["driftgauge.reason"], letter))
    for source in sorted(expected.keys() | found.keys()):
        actual = [
            f"{reason} at {letter.partition()}@{letter.offset()}, written {letter.timestamp()[1]} ms"
            for reason, letter in found[source]
        ]
        right = [expected[source]] if source in expected else []
        check.checked += 1
        if [(reason, letter.value()) for reason, letter in found[source]] != right:
            what = f"one for {right[0][0]}, unchanged" if right else "none"
            check.mismatches.append(f"dead letters of {source}: {actual}, not {what}")
    return check


def field_at(document: dict[str, Any], path: str) -> Any:
    """Return a field by its path, such as mean_shift.t2; None if it or its parent is null."""
    found: Any = document
    for name in path.split("."):
        found = None if found is None else found[name]
    return found


def check_replay(
    replayed: Mapping[WindowKey, PublishedRevision],
    final: Mapping[WindowKey, PublishedRevision],
    expected: Collection[WindowKey],
) -> Check:
    """Check that `driftgauge replay` of the same events gives the same final results.

    The replayed files hold no late events. A window in which the service did count a late event is not
    compared, but nearly all expected windows must be.
    """
    check = Check("final results equal those of replay")
    differing = 0
    for key in sorted(expected):
        ours, theirs = final.get(key), replayed.get(key)
        if ours is None or theirs is None or ours.counts == theirs.counts:
            check.compare(key, ours and ours.content, theirs and theirs.content)
        else:
            differing += 1
    check.compare(
        "nearly all windows are compared", differing <= MAX_DIFFERING * len(expected), expected=True
    )
    return check
