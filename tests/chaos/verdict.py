"""The checks at the end of a run: each compares what is there with what must be, and names what differs."""

import operator
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message

from tests.chaos.results import PublishedRevision
from tests.chaos.truth import WindowKey
from tests.chaos.workload import PARTITIONS, Fault, Workload

# Of the windows in a replay so many may hold other late events than those that were published.
MOST_DIFFER = 0.1


@dataclass
class Check:
    """One thing that must be so.

    Attributes:
        name: What must be so.
        checked: How many things were compared.
        mismatches: What differs.
    """

    name: str
    checked: int = 0
    mismatches: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Nothing differs, and something was compared."""
        return self.checked > 0 and not self.mismatches

    def compare(self, what: object, found: object, expected: object) -> None:
        self.checked += 1
        if found != expected:
            self.mismatches.append(f"{what}: {found}, not {expected}")


def check_log(messages: Iterable[Message], workload: Workload, folder: Path) -> tuple[Check, list[Path]]:
    """Every partition of the events topic holds what was sent there, in that order and once.

    Writes each partition to a file as well, for `driftgauge replay`: without the events that are late, for
    a replay, which reads one file after the other, has a later horizon.
    """
    check = Check("events in the log as they were sent")
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
            place = f"partition {partition} offset {offsets[partition]}"
            check.compare(place, (message.offset(), value), (offsets[partition], expected))
            offsets[partition] += 1
    finally:
        for file in files:
            file.close()
    for partition, missing in enumerate(rows):
        check.mismatches += [f"partition {partition}: event {row} is missing" for row in missing]
    return check, paths


def check_revisions(results: Iterable[PublishedRevision]) -> Check:
    """A window's results are its revisions 0, 1, 2 and so on, in order; none takes an event back."""
    check = Check("results: each revision once, none left out")
    last: dict[WindowKey, PublishedRevision] = {}
    for result in results:
        stream, window, _ = result.key
        before = last.get(result.key)
        last[result.key] = result
        expected = 0 if before is None else before.revision + 1
        check.compare(f"revision of {result.key}", result.revision, expected)
        if result.name != f"{stream}/{window}/{result.document['start']}":
            check.mismatches.append(f"a result of {result.key} has the key {result.name}")
        if before is not None and any(map(operator.lt, result.counts, before.counts)):
            check.mismatches.append(f"revision {result.revision} of {result.key} takes events back")
    return check


def check_unmarked(results: Iterable[PublishedRevision]) -> Check:
    """No window says that events of it may be lost or counted twice."""
    check = Check("no window marked as lost, twice or otherwise")
    for result in results:
        marks = [result.document[name] for name in ("events_lost", "counted_twice", "incomplete_reason")]
        check.compare(f"marks of revision {result.revision} of {result.key}", marks, [False, False, None])
    return check


def check_dead_letters(letters: Iterable[Message], workload: Workload, topic: str) -> Check:
    """Every faulty event, and no other, is a dead letter, once, with its reason and untouched."""
    check = Check("dead letters: each faulty event once")
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
        places = [
            f"{reason} at {letter.partition()}@{letter.offset()}, written {letter.timestamp()[1]} ms"
            for reason, letter in found[source]
        ]
        right = [expected[source]] if source in expected else []
        check.checked += 1
        if [(reason, letter.value()) for reason, letter in found[source]] != right:
            what = f"one for {right[0][0]}, untouched" if right else "none"
            check.mismatches.append(f"dead letters of {source}: {places}, not {what}")
    return check


def part_of(document: dict[str, Any], path: str) -> Any:
    """A field, or one of a field's own, such as mean_shift.t2; None where either is null."""
    found: Any = document
    for name in path.split("."):
        found = None if found is None else found[name]
    return found


def check_replay(
    replayed: Mapping[WindowKey, PublishedRevision],
    final: Mapping[WindowKey, PublishedRevision],
    expected: Collection[WindowKey],
) -> Check:
    """`driftgauge replay` of the same events gives the same windows, and says the same of them.

    The replay is of the events that are not late. Where a late one was counted all the same, the windows
    are not compared; nearly all of those that are expected must be.
    """
    check = Check("final results equal those of replay")
    differ = 0
    for key in sorted(expected):
        ours, theirs = final.get(key), replayed.get(key)
        if ours is None or theirs is None or ours.counts == theirs.counts:
            check.compare(key, ours and ours.content, theirs and theirs.content)
        else:
            differ += 1
    check.compare(
        "nearly all windows could be compared", differ <= MOST_DIFFER * len(expected), expected=True
    )
    return check
