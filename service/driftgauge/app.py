"""Assembly of the running service from its parts."""

import logging
import signal
import threading
from collections.abc import Collection
from importlib.metadata import version

from threadpoolctl import threadpool_limits

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.errors import ConfigError
from driftgauge.events.inputs import missing_libraries
from driftgauge.kafka.client import property_problems
from driftgauge.kafka.registry_client import registry_problems
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.kafka.service import Service
from driftgauge.streams import ConfiguredStream, build_decoder, load_streams, watch
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.logs import count_messages
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.server import MetricsServer

__all__ = ["check", "serve"]

_log = logging.getLogger(__name__)


def check(settings: Settings) -> list[ConfiguredStream]:
    """Return the configured streams; all properties and baselines are checked, without a broker or registry.

    Raises:
        ConfigError: Lists every problem found.
    """
    problems = property_problems(settings.kafka)
    problems += missing_libraries(settings.inputs.values())
    if settings.schema_registry:
        problems += registry_problems(settings.schema_registry)
    try:
        streams = load_streams(settings)
    except ConfigError as error:
        problems += error.problems
    if problems:
        message = "the configuration cannot be used; correct:"
        raise ConfigError(message, problems)
    return streams


def serve(settings: Settings, roles: Collection[Role]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        ConfigError: The configuration cannot be used, or the HTTP address cannot be bound.
        ServiceError: Kafka failed in a way that waiting does not repair.
    """
    streams = check(settings)
    health = Health(roles, SYSTEM_CLOCK)
    telemetry = Telemetry(
        version("driftgauge"),
        [watch(stream) for stream in streams],
        settings.topics.events,
        settings.partials_topic,
        health,
        roles,
        SYSTEM_CLOCK,
    )
    count_messages(telemetry.logged)
    health.set_condition(ReadinessCondition.BASELINES_LOADED, is_met=True)
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    server = MetricsServer(settings.http.host, settings.http.port, telemetry.registry, health)
    server.start()
    try:
        with (
            open_schema_registry(settings, settings.inputs.values(), SYSTEM_CLOCK) as schemas,
            # The products of a batch are small: with more threads, BLAS spends a second core on waiting.
            threadpool_limits(limits=1, user_api="blas"),
        ):
            service = Service(
                settings,
                [stream.spec for stream in streams],
                build_decoder(streams, settings.allowed_lead, settings.inputs, schemas),
                roles={role: RoleTelemetry(telemetry, role, settings.shards) for role in roles},
                clock=SYSTEM_CLOCK,
            )
            service.run(stopping)
        _log.info("stopped")
    finally:
        server.stop()
