"""`driftgauge publish`: send the vectors of a file as events."""

from pathlib import Path

import click

from driftgauge.cli.options import DURATION, RECORDED, TIME, array_option, config_option, read_settings
from driftgauge.cli.printing import counted_refusals, json_option, print_report
from driftgauge.cli.progress import show_progress
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import ConfigError
from driftgauge.events.timestamps import format_timestamp

__all__ = ["publish_command"]


@click.command("publish")
@click.argument("source", metavar="FILE", type=RECORDED)
@config_option
@click.option("--stream", required=True, help="The stream name in the events.")
@click.option("--topic", help="The topic.  [default: the first events topic of the configuration]")
@array_option
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Events per second.  [default: full speed]"
)
@click.option(
    "--start",
    "start_ms",
    type=TIME,
    help="Event time of the first event, RFC 3339.  [default: now minus --span]",
)
@click.option(
    "--span",
    "span_ms",
    type=DURATION,
    default="1h",
    show_default=True,
    help="Length of event time that the events cover.",
)
@click.option(
    "--disorder", "disorder_ms", type=DURATION, default="0s", help="Largest disorder of the event times."
)
@click.option(
    "--model-version",
    help="The model version in the events. Of recorded events, only those with it or without one are sent.",
)
@click.option("--base64", "as_base64", is_flag=True, help="Send vectors as base64 instead of JSON numbers.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers."
)
@json_option
def publish_command(
    source: Path,
    config_path: Path,
    stream: str,
    topic: str | None,
    array: str | None,
    rate: float | None,
    start_ms: int | None,
    span_ms: int,
    disorder_ms: int,
    model_version: str | None,
    as_base64: bool,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Send the vectors in FILE as events, spread evenly over a span of event time.

    Events from .jsonl or .jsonl.gz files keep their own times unless --start is given.
    """
    from driftgauge.baseline.vectors import read_vectors
    from driftgauge.cli.publisher import Publication, publish
    from driftgauge.kafka.client import producer

    settings = read_settings(config_path)
    if stream not in settings.by_stream:
        message = f"{config_path} has no stream {stream}; the service would reject all events; add the stream"
        raise ConfigError(message)
    with show_progress() as track, counted_refusals() as refusals:
        read = read_vectors(
            source, array=array, stream=stream, model_version=model_version, refusals=refusals, track=track
        )
    topic = topic or settings.topics.events[0]
    model_version = read.model_version
    if start_ms is None and read.times_ms is not None:
        publication = Publication(topic, stream, read.vectors, read.times_ms, model_version, as_base64)
    else:
        publication = Publication.spread(
            topic=topic,
            stream=stream,
            vectors=read.vectors,
            start_ms=SYSTEM_CLOCK.wall_ms() - span_ms if start_ms is None else start_ms,
            span_ms=span_ms,
            disorder_ms=disorder_ms,
            seed=seed,
            model_version=model_version,
            as_base64=as_base64,
        )
    with show_progress() as track:
        publish(producer(settings.kafka), publication, rate=rate, track=track)
    first, last = (
        format_timestamp(int(time_ms)) for time_ms in (publication.times_ms.min(), publication.times_ms.max())
    )
    sent = {
        "topic": topic,
        "stream": stream,
        "model_version": model_version,
        "published": len(read.vectors),
        "first": first,
        "last": last,
        "refused": refusals.by_reason(),
    }
    line = f"published {len(read.vectors):,} events to {topic}, event time {first} to {last}"
    print_report(sent, lambda _: [line], as_json=as_json)
