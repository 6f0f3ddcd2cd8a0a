"""Checks at the end of a run: each compares actual with expected values and lists the mismatches."""

import operator
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from math import inf
from pathlib import Path

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from tests.chaos.windows import Counts, ExpectedCounts, PublishedRevision, SeriesKey, WindowKey, nearest
from tests.chaos.workload import CENTRES, PARTITIONS, Fault, Workload
from tests.harness.gauges import compare_gauges
from tests.harness.scrape import Scrape

LATE = "driftgauge_late_events_total"
# With five clusters a round closes at most 548 windows.
FULL_ROUND = 500


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
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("wb")) for path in paths]
        for message in messages:
            partition, value = message.partition() or 0, message.value() or b""
            row = next(rows[partition], None)
            if row is None or not workload.late[row]:
                files[partition].write(value + b"\n")
            expected = None if row is None else workload.value(row)
            position = f"partition {partition} offset {offsets[partition]}"
            check.compare(position, (message.offset(), value), (offsets[partition], expected))
            offsets[partition] += 1
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
    check.compare("nearly all windows are compared", differing <= len(expected) / 10, expected=True)
    return check


def check_counts(found: Mapping[WindowKey, Counts], expected: ExpectedCounts) -> Check:
    """Check that each window's cluster counts hold all events on time and at most the late ones besides."""
    check = Check("counts of every stream, window and cluster")
    for key in sorted(expected.on_time.keys() | found.keys()):
        least, most, counts = expected.on_time.get(key, ()), expected.all.get(key, ()), found.get(key, ())
        if len(counts) != len(most):
            check.mismatches.append(f"{key}: {counts or 'missing'}, not {most or 'expected at all'}")
            continue
        for cluster, (low, each, high) in enumerate(zip_longest(least, counts, most, fillvalue=0)):
            of_cluster = f"{key} cluster {cluster}"
            check.compare(of_cluster, each, min(max(each, low), high))
    return check


def check_late(
    found: Mapping[WindowKey, Counts], late: Mapping[SeriesKey, list[int]], expected: ExpectedCounts
) -> Check:
    """Check that events counted and events counted as late add up to the events sent, by stream and size.

    Args:
        found: The final counts of every window.
        late: The late events, as each replica that shows the stream's counter reports them.
        expected: The expected counts.
    """
    check = Check("counted + late = sent, for each stream and size")
    sent, counted = totals(expected.all), totals(found)
    check.compare("some events were late", any(map(sum, late.values())), expected=True)
    for series in sorted(sent.keys() | late.keys()):
        of_series = late.get(series, [])
        check.compare(f"replicas that show late events of {series}", len(of_series), 1)
        what = f"{counted[series]:,} counted and {sum(of_series):,} late of {series}"
        check.compare(what, counted[series] + sum(of_series), sent[series])
    return check


def totals(counts: Mapping[WindowKey, Counts]) -> Counter[SeriesKey]:
    """Return the events of all windows together, by stream and size."""
    numbers: Counter[SeriesKey] = Counter()
    for (stream, window, _), each in counts.items():
        numbers[stream, window] += sum(each)
    return numbers


def late_totals(scrapes: Iterable[Scrape]) -> dict[SeriesKey, list[int]]:
    """Return each replica's counter of late events, by stream and size."""
    found: defaultdict[SeriesKey, list[int]] = defaultdict(list)
    for scrape in scrapes:
        for (name, labels), value in scrape.samples.items():
            if name == LATE:
                by_name = dict(labels)
                found[by_name["stream"], by_name["window"]].append(int(value))
    return found


def check_nothing_closed_early(results: Iterable[PublishedRevision], stream: str) -> Check:
    """Check that no window of a live stream is published before its end, despite fast producer clocks."""
    check = Check("no window of the live stream closed before its end")
    for result in results:
        if result.key[0] == stream and result.revision == 0:
            early_ms = max(result.end_ms - result.written_ms, 0)
            check.compare(f"{result.key} was published before its end, ms", early_ms, 0)
    return check


def check_burst(results: Iterable[PublishedRevision], stream: str, released_ms: float) -> Check:
    """Check that the panes of a burst wait until it is released, and are then closed in full rounds.

    Args:
        results: Every revision.
        stream: The stream of the burst.
        released_ms: The wall clock time of the event that releases it.
    """
    check = Check("burst: no window closed before its release, and some rounds full")
    first = [result for result in results if result.key[0] == stream and result.revision == 0]
    for result in first:
        early_ms = max(released_ms - result.written_ms, 0)
        check.compare(f"{result.key} was published before the burst was released, ms", early_ms, 0)
    rounds = [0]
    written_ms = sorted(result.written_ms for result in first)
    for before_ms, each_ms in pairwise([-inf, *written_ms]):
        # A round writes its results within milliseconds, and closes windows for longer before that.
        if each_ms - before_ms > 200:
            rounds.append(0)
        rounds[-1] += 1
    check.compare(f"at most {max(rounds)} windows in a round, full", max(rounds) >= FULL_ROUND, expected=True)
    check.name += f" ({len(first):,} windows in {len(rounds) - 1} rounds, at most {max(rounds)} in one)"
    return check


def check_divergences(
    results: Iterable[PublishedRevision], baselines: Mapping[str, NDArray[np.int64]]
) -> Check:
    """Check that each divergence is that of the result's counts from its stream's baseline, base 2.

    Args:
        results: Every revision.
        baselines: The (k,) cluster counts of each stream's baseline.
    """
    check = Check("divergence of every revision, recomputed with SciPy")
    for result in results:
        actual = result.document["js_divergence"]
        what = f"revision {result.revision} of {result.key}"
        check.compare(f"count of {what}", result.document["count"], sum(result.counts))
        if actual is None:
            is_explained = result.document["verdict"] in {"insufficient", "incomplete"}
            check.compare(f"{what} may have no divergence", is_explained, expected=True)
            continue
        expected = float(jensenshannon(result.counts, baselines[result.key[0]], base=2)) ** 2
        found = actual if abs(actual - expected) > 1e-9 else expected
        check.compare(f"divergence of {what}", found, expected)
    return check


def check_numbers(
    results: Iterable[PublishedRevision], centroids: Mapping[str, NDArray[np.float32]]
) -> Check:
    """Check that every event's number is in its cluster's mean once: all events of a cluster say the same.

    Args:
        results: Every revision.
        centroids: Each stream's (k, d) centroids.
    """
    check = Check("numbers beside the vectors: every event's, in its cluster")
    blobs = {stream: nearest(each, CENTRES.astype(np.float32)) for stream, each in centroids.items()}
    for result in results:
        number = result.document["numbers"]["blob"]
        means = [each["mean"] for each in number["clusters"]]
        # The service counts values in steps of 4 / 65,535.
        found = number["count"], number["missing"], [mean and round(mean, 4) for mean in means]
        blob = blobs[result.key[0]].tolist()
        expected = [each if count else None for each, count in zip(blob, result.counts, strict=True)]
        check.compare(f"revision {result.revision} of {result.key}", found, (sum(result.counts), 0, expected))
    return check
