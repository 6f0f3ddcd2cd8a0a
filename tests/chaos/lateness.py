"""Every sound event is counted, or counted as late: windows and late counters together, size by size."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import zip_longest

from deploy.demo.scrape import Scrape

from tests.chaos.results import PublishedRevision
from tests.chaos.truth import Counts, SeriesKey, Truth, WindowKey
from tests.chaos.verdict import Check

LATE = "driftgauge_late_events_total"


def check_counts(found: Mapping[WindowKey, Counts], truth: Truth) -> Check:
    """Every window holds in every cluster what came in time, and of what was late no more than there was."""
    check = Check("counts of every stream, window and cluster")
    for key in sorted(truth.on_time.keys() | found.keys()):
        least, most, counts = truth.on_time.get(key, ()), truth.all.get(key, ()), found.get(key, ())
        if len(counts) != len(most):
            check.mismatches.append(f"{key}: {counts or 'missing'}, not {most or 'expected at all'}")
            continue
        for cluster, (low, each, high) in enumerate(zip_longest(least, counts, most, fillvalue=0)):
            of_cluster = f"{key} cluster {cluster}"
            check.compare(of_cluster, each, min(max(each, low), high))
    return check


def check_late(found: Mapping[WindowKey, Counts], late: Mapping[SeriesKey, list[int]], truth: Truth) -> Check:
    """For each stream and size the events counted and those counted as late are those that were sent.

    Args:
        found: The final counts of every window.
        late: What each replica that counts a stream's late events says of them.
        truth: What must be counted.
    """
    check = Check("counted + late = sent, for each stream and size")
    sent, counted = totals(truth.all), totals(found)
    check.compare("some events were late", any(map(sum, late.values())), expected=True)
    for series in sorted(sent.keys() | late.keys()):
        of_series = late.get(series, [])
        check.compare(f"replicas that count late events of {series}", len(of_series), 1)
        stated = f"{counted[series]:,} counted and {sum(of_series):,} late of {series}"
        check.compare(stated, counted[series] + sum(of_series), sent[series])
    return check


def totals(counts: Mapping[WindowKey, Counts]) -> Counter[SeriesKey]:
    """The events of all windows of a stream and size together."""
    numbers: Counter[SeriesKey] = Counter()
    for (stream, window, _), each in counts.items():
        numbers[stream, window] += sum(each)
    return numbers


def late_totals(scrapes: Iterable[Scrape]) -> dict[SeriesKey, list[int]]:
    """What each replica that shows late events of a stream and size says of them."""
    found: defaultdict[SeriesKey, list[int]] = defaultdict(list)
    for scrape in scrapes:
        for (name, labels), value in scrape.samples.items():
            if name == LATE:
                told = dict(labels)
                found[told["stream"], told["window"]].append(int(value))
    return found


def check_nothing_closed_early(results: Iterable[PublishedRevision], stream: str) -> Check:
    """No window of a live stream is published before it has ended, whatever producers' clocks say."""
    check = Check("no window of the live stream closed before its end")
    for result in results:
        if result.key[0] == stream and result.revision == 0:
            early_ms = max(result.end_ms - result.written_ms, 0)
            check.compare(f"{result.key} was published before its end, ms", early_ms, 0)
    return check
