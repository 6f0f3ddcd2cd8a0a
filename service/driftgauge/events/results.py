"""A closed window as the record that is published."""

from driftgauge.core.durations import format_duration
from driftgauge.core.result import WindowResult
from driftgauge.events.contract import ClusterRecord, PartitionRecord, WindowRecord
from driftgauge.events.timestamps import format_timestamp

__all__ = ["result_key", "result_record"]


def result_key(result: WindowResult) -> bytes:
    """Return the record's key, the same for every revision of a window: "stream/1d/start"."""
    size = format_duration(result.window.size_ms)
    return f"{result.stream}/{size}/{format_timestamp(result.window.start_ms)}".encode()


def result_record(result: WindowResult) -> bytes:
    """Return the record's value, one line of JSON by the schema of window results, version 1."""
    count = result.count
    baseline_count = int(result.baseline_counts.sum())
    score = result.score
    contributions = [None] * len(result.counts) if score is None else score.contributions.tolist()
    record = WindowRecord(
        stream=result.stream,
        window=format_duration(result.window.size_ms),
        start=format_timestamp(result.window.start_ms),
        end=format_timestamp(result.window.end_ms),
        revision=result.revision,
        count=count,
        js_divergence=None if score is None else score.js_divergence,
        js_distance=None if score is None else score.js_distance,
        noise_floor=None if score is None else score.noise_floor,
        baseline=result.baseline_id,
        incomplete=tuple(
            PartitionRecord(topic=topic, partition=partition) for topic, partition in result.missing
        ),
        events_lost=result.events_lost,
        clusters=tuple(
            ClusterRecord(
                id=cluster,
                count=in_window,
                share=in_window / count,
                baseline_share=in_baseline / baseline_count,
                js_contribution=contribution,
            )
            for cluster, (in_window, in_baseline, contribution) in enumerate(
                zip(result.counts.tolist(), result.baseline_counts.tolist(), contributions, strict=True)
            )
        ),
    )
    return record.model_dump_json().encode()
