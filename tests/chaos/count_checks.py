"""Checks that every valid event is counted or counted as late, per stream and window size."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise, zip_longest
from math import inf

from tests.chaos.checks import Check
from tests.chaos.expected_counts import Counts, ExpectedCounts, SeriesKey, WindowKey
from tests.chaos.results import PublishedRevision
from tests.harness.scrape import Scrape

LATE = "driftgauge_late_events_total"
# A round writes its results within milliseconds, and closes windows for longer before that.
ROUND_MS = 200
# With five clusters a round closes at most 548 windows.
FULL_ROUND = 500


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
        if each_ms - before_ms > ROUND_MS:
            rounds.append(0)
        rounds[-1] += 1
    check.compare(f"at most {max(rounds)} windows in a round, full", max(rounds) >= FULL_ROUND, expected=True)
    check.name += f" ({len(first):,} windows in {len(rounds) - 1} rounds, at most {max(rounds)} in one)"
    return check
