"""The one place where the parts of the running service are put together."""

import logging
import signal
import threading
import time
from importlib.metadata import version

from driftgauge.config import Settings
from driftgauge.errors import ConfigError
from driftgauge.kafka.client import property_problems
from driftgauge.kafka.replica import Replica
from driftgauge.streams import ConfiguredStream, build_decoder, load_streams
from driftgauge.telemetry.health import Condition, Health
from driftgauge.telemetry.logs import count_messages
from driftgauge.telemetry.metrics import Telemetry, WatchedBaseline, WatchedStream
from driftgauge.telemetry.server import MetricsServer

__all__ = ["check", "serve", "wall_clock_ms"]

_log = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Return the time, milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def check(settings: Settings) -> list[ConfiguredStream]:
    """Check what can be checked without a broker: librdkafka's properties and every baseline.

    Raises:
        ConfigError: Lists every problem found.
    """
    problems = property_problems(settings.kafka)
    try:
        streams = load_streams(settings)
    except ConfigError as error:
        problems += error.problems
    if problems:
        message = "the configuration cannot be used:"
        raise ConfigError(message, problems)
    return streams


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        ConfigError: The configuration cannot be used, or the HTTP address not be listened on.
        ServiceError: Kafka failed in a way that waiting will not mend.
    """
    streams = check(settings)
    health = Health()
    telemetry = Telemetry(
        version("driftgauge"),
        [
            WatchedStream(
                stream.spec,
                tuple(
                    WatchedBaseline(
                        scheduled.reference, baseline.metadata.model_version, baseline.metadata.created_ms
                    )
                    for scheduled, baseline in zip(stream.spec.baselines, stream.baselines, strict=True)
                ),
                stream.settings.drift_severity,
                stream.settings.overdue_after,
            )
            for stream in streams
        ],
        settings.topics.events,
        health,
    )
    count_messages(telemetry.logged)
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    server = MetricsServer(settings.http.host, settings.http.port, telemetry.registry, health)
    server.start()
    try:
        replica = Replica(
            settings,
            [stream.spec for stream in streams],
            build_decoder(streams, settings.allowed_lead),
            telemetry=telemetry,
            health=health,
            clock_ms=wall_clock_ms,
        )
        replica.run(stopping)
        _log.info("stopped")
    finally:
        server.stop()
