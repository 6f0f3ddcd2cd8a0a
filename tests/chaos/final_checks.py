"""Runs the final checks on the topics' records and the replicas' metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
from confluent_kafka import Message
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from driftgauge.records.partials import decode_part
from tests.chaos.checks import (
    Check,
    check_burst,
    check_counts,
    check_dead_letters,
    check_gauges,
    check_late,
    check_log,
    check_nothing_closed_early,
    check_replay,
    check_revisions,
    check_unmarked,
    late_totals,
)
from tests.chaos.committed_reader import CommittedReader, check_reads
from tests.chaos.environment import SHARDS, Environment
from tests.chaos.history_checks import (
    ProgressChain,
    check_chain_counters,
    check_partials,
    check_verdicts,
    level_of,
)
from tests.chaos.windows import ExpectedCounts, PublishedRevision, final_results, nearest
from tests.chaos.workload import BURST, CENTRES, LIVE, LOSSY, STREAMS, Workload
from tests.harness.scrape import Scrape
from tests.harness.service import driftgauge


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


def run_checks(
    env: Environment,
    folder: Path,
    workload: Workload,
    expected: ExpectedCounts,
    scrapes: Mapping[str, Scrape],
    reader: CommittedReader,
) -> Iterator[Check]:
    """Yield each check of topics and metrics against the expected counts and `driftgauge replay`."""
    log, paths = check_log(env.read(env.events_topic), workload, folder)
    yield log
    written = env.read(env.windows_topic)
    results = _results(written)
    final = final_results(results)
    counts = {key: result.counts for key, result in final.items()}
    yield check_counts(counts, expected)
    yield check_late(counts, late_totals(scrapes.values()), expected)
    yield check_revisions(results)
    yield check_unmarked(results)
    yield check_divergences(results, env.baseline_counts)
    yield check_numbers(results, env.centroids)
    yield check_verdicts(results, level_of(env.centroids))
    yield check_nothing_closed_early(results, STREAMS[LIVE])
    spec = workload.spec
    yield check_burst(results, STREAMS[BURST], spec.live_from_ms + spec.released_s * 1_000)
    yield check_dead_letters(env.read(env.dead_letters_topic), workload, env.events_topic)
    yield check_gauges(scrapes, final)
    parts = env.read(env.partials_topic)
    chain = ProgressChain(env.events_topic)
    for part in parts:
        chain.take(part.partition() or 0, part.offset() or 0, decode_part(part.value() or b""))
    yield chain.finish(workload.ends, SHARDS)
    yield check_partials(chain.counts(), expected.all)
    yield check_chain_counters(scrapes, SHARDS)
    yield check_reads(reader.seen, reader.problems, [*written, *parts])
    replay = driftgauge("replay", "--json", "--config", env.config, *paths)
    if replay.returncode:
        yield Check("replay of the same events ends well", mismatches=[replay.stderr])
    else:
        replayed = [PublishedRevision("", orjson.loads(line)) for line in replay.stdout.splitlines()]
        yield check_replay(final_results(replayed), final, expected.on_time)


def read_results(env: Environment) -> list[PublishedRevision]:
    """Return every revision of every window of the workload's streams."""
    return _results(env.read(env.windows_topic))


def _results(messages: Sequence[Message]) -> list[PublishedRevision]:
    results = [PublishedRevision.read(message) for message in messages]
    return [result for result in results if result.key[0] != LOSSY]
