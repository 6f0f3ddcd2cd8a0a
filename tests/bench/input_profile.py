"""Where each microsecond goes: the service's own code on records of a topic, stage by stage."""

import cProfile
import io
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from tests.bench.input_case import Case
from tests.bench.input_report import median
from threadpoolctl import threadpool_limits

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.core.counting.interval import IntervalCounter
from driftgauge.events.decoder import Decoded, Decoder
from driftgauge.events.records import Records
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.streams import build_decoder, load_streams, to_reference

RECORDS = 1_000  # the size of a usual poll
REPEATS = 21
FUNCTIONS = 12
SCHEMA_S = 30


def profile(bootstrap: str, case: Case, engines: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return the processor time of each stage of an event, and the functions that take most of it.

    The stages are measured in this process, on one poll's records. What the whole service takes beyond
    them is left as the rest: transactions, windows, metrics, and passing records between threads.
    """
    settings = load_settings(case.config(bootstrap, f"{case.topic}-profile"), {})
    streams = load_streams(settings)
    records = _to_records(_fetch(bootstrap, case))
    counter = IntervalCounter([stream.spec for stream in streams])
    reference = to_reference(streams[0].baselines[0])
    inputs = settings.inputs
    with (
        threadpool_limits(limits=1),
        open_schema_registry(settings, inputs.values(), SYSTEM_CLOCK) as schemas,
    ):
        decoder = build_decoder(streams, settings.allowed_lead, inputs, schemas)
        (batch,) = _decode(decoder, records).batches
        last_ms = int(batch.time_ms.max())
        clusters = reference.centroids.assign(batch.vectors)
        stages = {
            "decoding": _measure(lambda: decoder.decode(records)),
            "assigning to clusters": _measure(lambda: reference.centroids.assign(batch.vectors)),
            "distances, for novelty": _measure(lambda: reference.are_outliers(batch.vectors, clusters)),
            "projecting on components": _measure(lambda: reference.projection.measure(batch.vectors)),
        }
        counting = _measure(lambda: counter.count([batch], last_ms))
        stages["counting, the rest"] = counting - sum(list(stages.values())[1:])
        functions = _functions(lambda: counter.count(decoder.decode(records).batches, last_ms))
    raw = median(engines.get("raw", ()), "processor") or 0.0
    whole = median(engines.get("service", ()), "processor") or 0.0
    stages = {"consuming": raw, **stages}
    stages["the rest of the service"] = whole - sum(stages.values())
    lines = [f"{case.title}: us of processor time an event, {whole:.1f} in all"]
    lines += [f"  {name:28} {spent:7.2f}" for name, spent in stages.items()]
    return "\n".join(
        [*lines, "  functions of decoding and counting, under a profiler that slows them:", *functions]
    )


def _fetch(bootstrap: str, case: Case) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-profile"})
    consumer.assign([TopicPartition(case.topic, 0, 0)])
    messages: list[Message] = []
    while len(messages) < RECORDS:
        messages += consumer.consume(RECORDS - len(messages), 10)
    consumer.close()
    return messages


def _to_records(messages: list[Message]) -> Records:
    return Records(
        raw=messages,
        partition=np.zeros(len(messages), np.int32),
        offset=np.array([message.offset() for message in messages], np.int64),
        credible_ms=np.array([message.timestamp()[1] for message in messages], np.int64),
    )


def _decode(decoder: Decoder, records: Records) -> Decoded:
    """Return decoded records, once the registry has given their schema."""
    deadline = time.monotonic() + SCHEMA_S
    while (decoded := decoder.decode(records)).pending:
        if time.monotonic() > deadline:
            sys.exit(f"the schema registry gave no schema in {SCHEMA_S} s")
        time.sleep(0.1)
    return decoded


def _measure(step: Callable[[], object]) -> float:
    """Return the median processor time of a step, in us a record."""
    step()
    spent = []
    for _ in range(REPEATS):
        start = time.thread_time()
        step()
        spent.append(time.thread_time() - start)
    return statistics.median(spent) / RECORDS * 1e6


def _functions(step: Callable[[], object]) -> list[str]:
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(REPEATS):
        step()
    profiler.disable()
    stats = pstats.Stats(profiler, stream=io.StringIO()).stats  # type: ignore[attr-defined]
    ranked = sorted(stats.items(), key=lambda item: -item[1][2])[:FUNCTIONS]
    return [
        f"    {own / RECORDS / REPEATS * 1e6:7.2f}  {name} ({path.rpartition('/')[2]}:{line})"
        for (path, line, name), (_, _, own, _, _) in ranked
    ]
