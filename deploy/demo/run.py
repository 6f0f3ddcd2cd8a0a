"""The demo's story: three weeks of images, clean, blurred and darkened, through the real service.

The images are scikit-learn's handwritten digits, the embeddings the hidden layer of a network
trained on the spot, the days 21 of simulated event time, and the service is `driftgauge serve` in
a process of its own. Every number of its work was read from /metrics over HTTP.

The broker is embedded: in memory and for one replica. It restores nothing and takes no transaction
back, so what it loses, or makes the service count again, ends the demo with an error.
"""

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
from confluent_kafka import Producer
from deploy.demo.config import EVENTS_TOPIC, TOPICS, write_config
from deploy.demo.days import DAY_MS, TABLE_HEAD, Day, check, table_row, week_rows
from deploy.demo.digits import Condition
from deploy.demo.embedded_broker import EmbeddedBroker
from deploy.demo.live import DAYS_PER_WEEK, LIVE_STREAM, publish_live
from deploy.demo.network import MODEL_VERSION
from deploy.demo.picture import draw
from deploy.demo.scrape import Scrape
from deploy.demo.service_process import ServiceProcess
from deploy.demo.source import CLUSTERS, Source, train_source

from driftgauge.baseline.artifact import Baseline, save
from driftgauge.core.durations import parse_duration
from driftgauge.core.result import Verdict
from driftgauge.errors import ConfigError, DemoError
from driftgauge.events.timestamps import format_timestamp, parse_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.publisher import Publication, publish

__all__ = ["tell"]

_STREAM = "digits"
_WINDOW = "1d"
_LIVE_WINDOW = "1m"
_FIRST_DAY_MS = parse_timestamp("2025-11-03T00:00:00Z")
_EVENTS_PER_DAY = 1_000
# Events a second: far below what the service reads, so that nothing is dropped before it is read.
_RATE = 2_000.0
_DISORDER = "1h"
_DISORDER_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Sent:
    """A day that has been published; `accuracy` is the network's on its images."""

    start_ms: int
    condition: Condition
    published: int
    accuracy: float

    @property
    def date(self) -> str:
        return format_timestamp(self.start_ms)[:10]


def tell(out: Path, *, keep: bool) -> None:
    """Tell the story, and write all that belongs to it into the folder `out`.

    Args:
        out: Gets the configuration, the baseline, the service's log, the last metrics, the picture.
        keep: Keep the service running with fresh traffic afterwards, until interrupted.

    Raises:
        KeyboardInterrupt: It was told to stop before its end.
        ConfigError: The folder cannot be made.
        DemoError: The story did not come true, or the service failed.
        BrokerError: The embedded broker failed.
    """
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    started_s = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{out}: cannot make the folder: {error.strerror}; name another with --out"
        raise ConfigError(message) from error
    source, streams = _prepare(out, keep=keep)
    config, log = out / "driftgauge.yaml", out / "service.log"
    with EmbeddedBroker(TOPICS) as broker:
        kafka = write_config(config, bootstrap=broker.bootstrap, streams=streams)
        producer = client.producer(kafka)
        click.echo(
            "Started a Kafka broker inside this process: in memory, for one replica; it promises no restore, "
            "and nothing outlives it."
        )
        with ServiceProcess(config, log, stopping) as service:
            service.wait_until_ready()
            click.echo(f"Started the service: driftgauge serve --config {config}")
            click.echo(f"Its metrics are at {service.url}, its log in {log}.")
            _play(source, producer, service, out)
            click.echo(f"The story took {time.monotonic() - started_s:.0f} s.")
            if keep:
                _keep(source, producer, service)
    click.echo(f"Stopped the service and the broker. The story's last metrics are in {out / 'metrics.txt'}.")


def _prepare(out: Path, *, keep: bool) -> tuple[Source, list[dict[str, object]]]:
    """Train the network, fit the baseline; return what makes events, and the streams to watch."""
    source = train_source()
    click.echo(
        "Trained a network on a third of scikit-learn's handwritten digits; its hidden layer gives the "
        f"embeddings. Baseline and traffic are drawn from the other {len(source.images.labels)}, each many "
        "times, in small random shifts."
    )
    baseline = source.fit(_STREAM, _now_ms())
    streams = [_watch(baseline, out, window=_WINDOW, disorder=_DISORDER)]
    click.echo(f"Fitted the baseline, {CLUSTERS} clusters: {out / _STREAM}.safetensors")
    if keep:
        metadata = baseline.metadata.model_copy(update={"stream": LIVE_STREAM})
        live = replace(baseline, metadata=metadata)
        streams.append(_watch(live, out, window=_LIVE_WINDOW, disorder="5s"))
    return source, streams


def _watch(baseline: Baseline, out: Path, *, window: str, disorder: str) -> dict[str, object]:
    """Save a baseline; return its stream's entry in the configuration."""
    stream = baseline.metadata.stream
    path = out / f"{stream}.safetensors"
    save(baseline, path)
    return {
        "name": stream,
        "baseline": path.name,
        "windows": [window],
        "allowed_disorder": disorder,
        "idle_timeout": "5s",
        # As small as a day's events surely show, even where the live stream takes most of the budget.
        "smallest_drift": {"mean_shift": 0.1},
    }


def _play(source: Source, producer: Producer, service: ServiceProcess, out: Path) -> None:
    """Play the three weeks, show them, and check that they tell what they should."""
    click.echo(
        f"Playing {len(Condition) * DAYS_PER_WEEK} days of {_EVENTS_PER_DAY:,} events.\n\n{TABLE_HEAD}"
    )
    days = []
    for day in _days(source, producer, service):
        click.echo(table_row(day))
        days.append(day)
    click.echo("\n" + "\n".join(week_rows(days)) + "\n")
    last = service.scrape()
    (out / "metrics.txt").write_text(last.text, encoding="utf-8")
    picture = out / "drift.png"
    draw(days, picture)
    click.echo(f"Drew the picture: {picture}")
    check(days, last.outcomes(), last.mishaps())
    click.echo("The story came true: divergence rose from week to week, and every event was counted once.")


def _days(source: Source, producer: Producer, service: ServiceProcess) -> Iterator[Day]:
    """Publish day after day; yield each as soon as the service has closed it."""
    before: _Sent | None = None
    for number in range(len(Condition) * DAYS_PER_WEEK):
        condition = tuple(Condition)[number // DAYS_PER_WEEK]
        sent = _publish_day(source, producer, _FIRST_DAY_MS + number * DAY_MS, condition)
        if before is not None:
            yield _read_back(service, before)  # closed by the day after it
        before = sent
    if before is not None:
        yield _read_back(service, before)  # closed by silence


def _publish_day(source: Source, producer: Producer, start_ms: int, condition: Condition) -> _Sent:
    images = source.draw(_EVENTS_PER_DAY, condition)
    publication = Publication.spread(
        topic=EVENTS_TOPIC,
        stream=_STREAM,
        vectors=source.network.embed(images),
        start_ms=start_ms,
        span_ms=DAY_MS,
        disorder_ms=_DISORDER_MS,
        seed=0,
        model_version=MODEL_VERSION,
    )
    publish(producer, publication, rate=_RATE)
    return _Sent(start_ms, condition, _EVENTS_PER_DAY, source.network.accuracy(images))


def _read_back(service: ServiceProcess, sent: _Sent) -> Day:
    """Wait until the service has closed a day, and return what it says of it.

    Raises:
        DemoError: It closed the day not in time, too early, or without a score.
    """
    scrape = service.wait_for(
        f"the window of {sent.date} to be closed",
        lambda: _closed(service.scrape(), sent),
        lambda: _progress(service.scrape()),
    )
    end_s = _gauge(scrape, "end_timestamp_seconds")
    divergence, floor = _gauge(scrape, "js_divergence"), _gauge(scrape, "noise_floor")
    verdict = next((verdict for verdict in Verdict if _gauge(scrape, "verdict", verdict=verdict)), None)
    if end_s != (sent.start_ms + DAY_MS) / 1000 or divergence is None or floor is None or verdict is None:
        message = (
            f"the window of {sent.date} cannot be read: it was followed too early, which happens where the "
            f"machine stands still for some seconds, or not scored; run the demo again ({_progress(scrape)})"
        )
        raise DemoError(message)
    return Day(
        start_ms=sent.start_ms,
        condition=sent.condition,
        published=sent.published,
        accuracy=sent.accuracy,
        events=int(_gauge(scrape, "events") or 0),
        events_lost=_gauge(scrape, "events_lost") != 0,
        js_divergence=divergence,
        noise_floor=floor,
        verdict=verdict,
    )


def _closed(scrape: Scrape, sent: _Sent) -> Scrape | None:
    end_s = _gauge(scrape, "end_timestamp_seconds")
    return None if end_s is None or end_s < (sent.start_ms + DAY_MS) / 1000 else scrape


def _gauge(scrape: Scrape, name: str, **labels: str) -> float | None:
    return scrape.value(f"driftgauge_window_{name}", stream=_STREAM, window=_WINDOW, **labels)


def _progress(scrape: Scrape) -> str:
    end_s = _gauge(scrape, "end_timestamp_seconds")
    newest = "none" if end_s is None else f"the one that ended {format_timestamp(round(end_s * 1000))}"
    events = [f"{number:,} {outcome}" for outcome, number in scrape.outcomes().items() if number]
    return f"newest closed window: {newest}; events: {', '.join(events) or 'none'}"


def _keep(source: Source, producer: Producer, service: ServiceProcess) -> None:
    click.echo(
        f"\nIt goes on until Ctrl-C, with new events of stream {LIVE_STREAM}, in windows of {_LIVE_WINDOW}.\n"
        f"Metrics: {service.url}\n"
        "For a Prometheus:\n\n"
        "scrape_configs:\n"
        "  - job_name: driftgauge\n"
        "    scrape_interval: 15s\n"
        "    static_configs:\n"
        f'      - targets: ["{service.address}"]\n'
    )
    try:
        publish_live(
            producer,
            source,
            topic=EVENTS_TOPIC,
            day_ms=parse_duration(_LIVE_WINDOW),
            clock_ms=_now_ms,
            check=service.check,
            say=click.echo,
        )
    except KeyboardInterrupt:
        click.echo("\nStopping.")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
