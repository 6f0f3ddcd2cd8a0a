"""The demo: three weeks of clean, blurred and darkened images through the real service.

The images are scikit-learn's handwritten digits, and the embeddings are the hidden layer of a network
that the demo trains. The 21 days end at the last midnight. The service is `driftgauge serve` in its own
process, and the demo reads all results from the API of its page.

The broker is embedded: in memory, for one replica. It restores nothing and rolls no transaction back, so
an event that is lost or counted twice ends the demo with an error.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click
from deploy.demo.broker import EVENTS_TOPIC, TOPICS, EmbeddedBroker, write_config
from deploy.demo.digits import CLUSTERS, DAY_MS, EVENTS_PER_DAY, ImageQuality, train_source
from deploy.demo.pictures import pictures
from deploy.demo.traffic import (
    DAYS_PER_WEEK,
    DISORDER_MS,
    LIVE_STREAM,
    STREAM,
    Day,
    publish_live,
    publish_weeks,
)

from driftgauge.baseline.artifact import Baseline, save
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import ENV_PREFIX
from driftgauge.core.durations import format_duration
from driftgauge.errors import ConfigError, ServiceError
from driftgauge.kafka import client

__all__ = ["DemoError", "check_days", "run_demo"]

_HOST = "127.0.0.1"
_LIVE_DAY_MS = 60_000
_LIVE_DISORDER_MS = 5_000
# Starting takes about a second, joining the group three, closing the last day six.
_WAIT_S = 60.0
_POLL_S = 0.1
_REQUEST_S = 5.0
_STOP_S = 10.0
_TAIL_LINES = 10
# The API's means are of 32 bits.
_ROUNDING = 1e-6

Window = dict[str, Any]
"""A window as the API gives it."""

_Found = TypeVar("_Found")


class DemoError(ServiceError):
    """The demo's service failed, or its results are not as expected."""


def run_demo(out: Path, *, keep: bool) -> None:
    """Run the demo, and write its files into the folder `out`.

    Args:
        out: Gets the configuration, the baselines and the service's log.
        keep: Keep the service running with live traffic afterwards, until interrupted.

    Raises:
        KeyboardInterrupt: A signal stopped the demo before its end.
        ConfigError: The folder cannot be created.
        DemoError: The service failed, or its results are not as expected.
        BrokerError: The embedded broker failed.
    """
    started_s = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{out}: cannot create the folder: {error.strerror}; name another with --out"
        raise ConfigError(message) from error
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    end_ms = SYSTEM_CLOCK.wall_ms() // DAY_MS * DAY_MS
    source = train_source()
    click.echo(
        "Trained a network on a third of scikit-learn's handwritten digits; its hidden layer gives the "
        f"embeddings. Baseline and traffic draw from the other {len(source.images.labels)} images, each many "
        "times, with small random shifts."
    )
    baseline = source.fit(STREAM, end_ms - len(ImageQuality) * DAYS_PER_WEEK * DAY_MS)
    streams = [save_stream(baseline, out, DAY_MS, DISORDER_MS)]
    click.echo(f"Fitted the baseline, {CLUSTERS} clusters: {out / STREAM}.safetensors")
    if keep:
        metadata = baseline.metadata.model_copy(update={"stream": LIVE_STREAM})
        streams.append(
            save_stream(replace(baseline, metadata=metadata), out, _LIVE_DAY_MS, _LIVE_DISORDER_MS)
        )
    config = out / "driftgauge.yaml"
    with EmbeddedBroker(TOPICS) as broker, pictures() as address:
        shown = [stream | {"thumbnail_url": address} for stream in streams]
        kafka = write_config(config, bootstrap=broker.bootstrap, streams=shown)
        click.echo(
            "Started a Kafka broker inside this process: in memory, for one replica, without restore; "
            "its data ends with the demo."
        )
        with _Service(config, out / "service.log", stopping) as service:
            click.echo(
                f"Started the service: driftgauge serve --config {config}; its log is {out / 'service.log'}"
            )
            producer = client.producer(kafka)
            click.echo(f"Publishing {len(ImageQuality)} weeks, {EVENTS_PER_DAY:,} events a day.\n")
            days = publish_weeks(producer, source, topic=EVENTS_TOPIC, end_ms=end_ms)
            windows = service.wait_for("all days to be closed", lambda: service.windows(len(days)))
            click.echo("\n".join(_table(days, windows)))
            check_days(days, windows)
            click.echo("As expected: divergence rose from week to week, and every event was counted once.")
            click.echo(f"The demo took {time.monotonic() - started_s:.0f} s.")
            if keep:
                click.echo(_describe_live(service.address))
                try:
                    publish_live(
                        producer,
                        source,
                        topic=EVENTS_TOPIC,
                        day_ms=_LIVE_DAY_MS,
                        clock_ms=SYSTEM_CLOCK.wall_ms,
                        check=service.check,
                        say=click.echo,
                    )
                except KeyboardInterrupt:
                    click.echo("\nStopping.")
    click.echo("Stopped the service and the broker.")


def save_stream(baseline: Baseline, out: Path, window_ms: int, disorder_ms: int) -> dict[str, object]:
    """Save a baseline; return its stream's entry in the configuration."""
    stream = baseline.metadata.stream
    save(baseline, out / f"{stream}.safetensors")
    return {
        "name": stream,
        "baseline": f"{stream}.safetensors",
        "windows": [format_duration(window_ms)],
        "allowed_disorder": format_duration(disorder_ms),
        "idle_timeout": "5s",
        # A day's events detect so small a drift, even if the live stream takes most of the budget.
        "smallest_drift": {"mean_shift": 0.1},
        "numbers": {"confidence": [0, 1], "correct": [0, 1]},
    }


def _describe_live(address: str) -> str:
    return (
        f"\nOpen the page: http://{address}/?stream={STREAM}\n"
        f"The service keeps running until Ctrl-C, with new events of stream {LIVE_STREAM} in windows of "
        f"{format_duration(_LIVE_DAY_MS)}.\n"
        f"Metrics: http://{address}/metrics\n"
        "For a Prometheus server:\n\n"
        "scrape_configs:\n"
        "  - job_name: driftgauge\n"
        "    scrape_interval: 15s\n"
        "    static_configs:\n"
        f'      - targets: ["{address}"]\n'
    )


def _weeks(
    days: Sequence[Day], windows: Sequence[Window]
) -> Iterator[tuple[ImageQuality, list[tuple[Day, Window]]]]:
    for quality in ImageQuality:
        yield quality, [pair for pair in zip(days, windows, strict=True) if pair[0].quality is quality]


def _accuracy(window: Window) -> float:
    """Return the share of a window's images that the network classified correctly, as the service counted."""
    return float(window["numbers"]["correct"])


def _table(days: Sequence[Day], windows: Sequence[Window]) -> Iterator[str]:
    """Yield a line for each day, and for each week its means."""
    yield "  day         images     events  divergence  noise floor  accuracy  verdict"
    for day, window in zip(days, windows, strict=True):
        yield (
            f"  {window['start'][:10]}  {day.quality:<9}{window['count']:>8,}"
            f"{window['js_divergence'] or 0:>12.4f}{window['noise_floor'] or 0:>13.4f}"
            f"{_accuracy(window):>10.1%}  {window['verdict']}"
        )
    yield ""
    for quality, week in _weeks(days, windows):
        divergence, floor = (
            sum(window[name] or 0 for _, window in week) / len(week)
            for name in ("js_divergence", "noise_floor")
        )
        accuracy = sum(_accuracy(window) for _, window in week) / len(week)
        yield (
            f"  {quality:<9} mean divergence {divergence:.4f}, {divergence / floor:.1f} times the noise "
            f"floor; mean accuracy {accuracy:.1%}"
        )
    yield ""


def check_days(days: Sequence[Day], windows: Sequence[Window]) -> None:
    """Check that each day was counted whole and once, and that divergence rose from week to week.

    Raises:
        DemoError: Not so; or the accuracy that the service counted is not the one that was sent.
    """
    problems = [
        f"{window['start'][:10]}: {window['count']:,} events were counted, {EVENTS_PER_DAY:,} were published"
        for window in windows
        if window["count"] != EVENTS_PER_DAY
    ]
    problems += [f"{window['start'][:10]}: events may be lost" for window in windows if window["events_lost"]]
    problems += [
        f"{window['start'][:10]}: an accuracy of {_accuracy(window):.4f} was counted, {day.accuracy:.4f} sent"
        for day, window in zip(days, windows, strict=True)
        if abs(_accuracy(window) - day.accuracy) > _ROUNDING
    ]
    divergences = [
        (quality, [window["js_divergence"] or 0 for _, window in week])
        for quality, week in _weeks(days, windows)
    ]
    problems += [
        f"the highest divergence of the {lower} week, {max(below):.4f}, is not below the lowest of the "
        f"{higher} week, {min(above):.4f}"
        for (lower, below), (higher, above) in pairwise(divergences)
        if max(below) >= min(above)
    ]
    if problems:
        message = "the demo's results are not as expected:" + "".join(f"\n  - {each}" for each in problems)
        raise DemoError(message)


class _Service:
    """A context manager that runs `driftgauge serve`, ready when it is entered; its `http.port` is 0.

    Attributes:
        address: The host and port of its page and metrics.
    """

    def __init__(self, config: Path, log: Path, stopping: threading.Event) -> None:
        self._config, self._log, self._stopping = config, log, stopping
        self.address = ""

    def __enter__(self) -> "_Service":
        """Start the service.

        Raises:
            DemoError: The service did not start.
        """
        # A variable meant for the user's own service could point this one at another broker.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "driftgauge", "serve", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )
        try:
            health = self.wait_for("the service's health", lambda: self._logged_address("health"))
            self.address = self.wait_for("the service's page", lambda: self._logged_address("http"))
            self.wait_for("the service to be ready", lambda: self._get(health, "/readyz")[0] == 200 or None)  # noqa: PLR2004
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the service by SIGTERM.

        Raises:
            DemoError: The service did not stop in time, or not with status 0; not raised over another error.
        """
        status = self._stop()
        # Ctrl-C reaches the service too. SIGTERM may then reach an interpreter that is ending and has
        # restored the default handler.
        if kind is None and status not in {0, -signal.SIGTERM}:
            how = "did not end" if status is None else f"ended with status {status}, not 0,"
            message = f"the service {how} within {_STOP_S:g} s of SIGTERM; {self._tail()}"
            raise DemoError(message)

    def windows(self, number: int) -> list[Window] | None:
        """Return the windows of the three weeks, by start; None until there are so many."""
        status, body = self._get(self.address, f"/api/v1/windows?stream={STREAM}")
        windows: list[Window] = json.loads(body)["windows"] if status == 200 else []  # noqa: PLR2004
        return windows if len(windows) >= number else None

    def wait_for(self, awaited: str, look: Callable[[], _Found | None]) -> _Found:
        """Call `look` until it returns a value other than None, and return that value.

        Raises:
            DemoError: No value came in time, or the service ended.
        """
        deadline_s = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline_s:
            self.check()
            if (found := look()) is not None:
                return found
            time.sleep(_POLL_S)
        message = f"waited {_WAIT_S:g} s for {awaited}; {self._tail()}"
        raise DemoError(message)

    def check(self) -> None:
        """Raise unless the service is running and the demo goes on.

        A signal handler must not raise: an exception within a call of a Kafka client would be lost.

        Raises:
            DemoError: The service has ended.
            KeyboardInterrupt: A signal asked the demo to stop.
        """
        if self._stopping.is_set():
            raise KeyboardInterrupt
        status = self._process.poll()
        if status is not None:
            message = f"the service ended with status {status}; {self._tail()}"
            raise DemoError(message)

    def _logged_address(self, server: str) -> str | None:
        # The last piece is an incomplete line, or empty.
        for line in self._log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            if f'"{server} server started"' in line:
                return f"{_HOST}:{json.loads(line)['port']}"
        return None

    def _get(self, address: str, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer; the status 0 without an answer."""
        connection = HTTPConnection(address, timeout=_REQUEST_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException):
            return 0, b""
        finally:
            connection.close()

    def _stop(self) -> int | None:
        """Stop the process; return its status, None if it had to be killed."""
        try:
            self._process.terminate()
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return f"{self._log} ends with:" + "".join(f"\n    {line}" for line in lines)
