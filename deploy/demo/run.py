"""The demo: three weeks of clean, blurred and darkened images through the real service.

The images are scikit-learn's handwritten digits, and the embeddings are the hidden layer of a network
that the demo trains. The 21 days are simulated event time. The service is `driftgauge serve` in its own
process, and the demo reads all results from /metrics over HTTP.

The broker is embedded: in memory, for one replica. It restores nothing and rolls no transaction back, so
an event that is lost or counted twice ends the demo with an error.
"""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import click
from confluent_kafka import Producer
from deploy.demo.config import EVENTS_TOPIC, TOPICS, write_config
from deploy.demo.days import EVENTS_PER_DAY, TABLE_HEAD, check, table_row, week_rows
from deploy.demo.embedded_broker import EmbeddedBroker
from deploy.demo.live import LIVE_STREAM, publish_live
from deploy.demo.picture import draw
from deploy.demo.service_process import ServiceProcess
from deploy.demo.source import CLUSTERS, TrafficSource, train_source
from deploy.demo.weeks import DAYS, DISORDER, STREAM, WINDOW, publish_days

from driftgauge.baseline.artifact import Baseline, save
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.durations import parse_duration
from driftgauge.errors import ConfigError
from driftgauge.kafka import client

__all__ = ["run_demo"]

_LIVE_WINDOW = "1m"


def run_demo(out: Path, *, keep: bool) -> None:
    """Run the demo, and write its files into the folder `out`.

    Args:
        out: Gets the configuration, the baseline, the service's log, the last metrics and the picture.
        keep: Keep the service running with live traffic afterwards, until interrupted.

    Raises:
        KeyboardInterrupt: A signal stopped the demo before its end.
        ConfigError: The folder cannot be created.
        DemoError: The service failed, or its results are not as expected.
        BrokerError: The embedded broker failed.
    """
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    started_s = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{out}: cannot create the folder: {error.strerror}; name another with --out"
        raise ConfigError(message) from error
    source, streams = _prepare(out, keep=keep)
    config, log = out / "driftgauge.yaml", out / "service.log"
    with EmbeddedBroker(TOPICS) as broker:
        kafka = write_config(config, bootstrap=broker.bootstrap, streams=streams)
        producer = client.producer(kafka)
        click.echo(
            "Started a Kafka broker inside this process: in memory, for one replica, without restore; "
            "its data ends with the demo."
        )
        with ServiceProcess(config, log, stopping) as service:
            service.wait_until_ready()
            click.echo(f"Started the service: driftgauge serve --config {config}")
            click.echo(f"Its metrics are at {service.url}, its log in {log}.")
            _run_weeks(source, producer, service, out)
            click.echo(f"The demo took {time.monotonic() - started_s:.0f} s.")
            if keep:
                _keep_running(source, producer, service)
    click.echo(f"Stopped the service and the broker. The metrics after the last day: {out / 'metrics.txt'}")


def _prepare(out: Path, *, keep: bool) -> tuple[TrafficSource, list[dict[str, object]]]:
    """Train the network and fit the baseline; return the source of events, and the streams to watch."""
    source = train_source()
    click.echo(
        "Trained a network on a third of scikit-learn's handwritten digits; its hidden layer gives the "
        f"embeddings. Baseline and traffic draw from the other {len(source.images.labels)} images, each many "
        "times, with small random shifts."
    )
    baseline = source.fit(STREAM, SYSTEM_CLOCK.wall_ms())
    streams = [_save_stream(baseline, out, window=WINDOW, disorder=DISORDER)]
    click.echo(f"Fitted the baseline, {CLUSTERS} clusters: {out / STREAM}.safetensors")
    if keep:
        metadata = baseline.metadata.model_copy(update={"stream": LIVE_STREAM})
        live = replace(baseline, metadata=metadata)
        streams.append(_save_stream(live, out, window=_LIVE_WINDOW, disorder="5s"))
    return source, streams


def _save_stream(baseline: Baseline, out: Path, *, window: str, disorder: str) -> dict[str, object]:
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
        # A day's events detect so small a drift, even where the live stream takes most of the budget.
        "smallest_drift": {"mean_shift": 0.1},
    }


def _run_weeks(source: TrafficSource, producer: Producer, service: ServiceProcess, out: Path) -> None:
    """Publish the three weeks, print and draw the results, and check them."""
    click.echo(f"Publishing {DAYS} days of {EVENTS_PER_DAY:,} events.\n\n{TABLE_HEAD}")
    days = []
    for day in publish_days(source, producer, service):
        click.echo(table_row(day))
        days.append(day)
    click.echo("\n" + "\n".join(week_rows(days)) + "\n")
    last = service.scrape()
    (out / "metrics.txt").write_text(last.text, encoding="utf-8")
    picture = out / "drift.png"
    draw(days, picture)
    click.echo(f"Drew the picture: {picture}")
    check(days, last.outcomes(), last.mishaps())
    click.echo("As expected: divergence rose from week to week, and every event was counted once.")


def _keep_running(source: TrafficSource, producer: Producer, service: ServiceProcess) -> None:
    click.echo(
        f"\nOpen the page: http://{service.address}/?stream={STREAM}\n"
        f"The service keeps running until Ctrl-C, with new events of stream {LIVE_STREAM} in windows of "
        f"{_LIVE_WINDOW}.\n"
        f"Metrics: {service.url}\n"
        "For a Prometheus server:\n\n"
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
            clock_ms=SYSTEM_CLOCK.wall_ms,
            check=service.check,
            say=click.echo,
        )
    except KeyboardInterrupt:
        click.echo("\nStopping.")
