"""Assembly of the running service from its parts."""

import gc
import logging
import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version

from starlette.routing import BaseRoute
from threadpoolctl import threadpool_limits

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import HttpSettings, Settings, read_kafka_secrets
from driftgauge.engine.heartbeats import HeartbeatSender, name_replica
from driftgauge.engine.service import Service
from driftgauge.errors import ConfigError, refuse_problems
from driftgauge.events.mapped_readers import missing_libraries
from driftgauge.kafka.client import property_problems
from driftgauge.kafka.cluster import find_topic_faults
from driftgauge.kafka.login import Login
from driftgauge.kafka.registry_client import registry_problems
from driftgauge.kafka.schema_registry import open_schema_registry
from driftgauge.page.marks import Marks
from driftgauge.page.probes import page_health_routes
from driftgauge.page.results import Results
from driftgauge.page.service_watch import HOUR_MS, ServiceWatch
from driftgauge.page.site import Site
from driftgauge.records.mark import Mark
from driftgauge.streams import ConfiguredStream, build_decoder, describe_baselines, load_streams, watch
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.logs import adjust_logging
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.replica_metrics import LOGINS_REFUSED, WEB_CONFIG_VALID
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.topics.follower import TopicFollower
from driftgauge.watchdog import Lifetime
from driftgauge.web.endpoints import health_routes, metrics_route
from driftgauge.web.serving import serving
from driftgauge.web.web_config import WebConfigFile

__all__ = ["check", "serve", "serve_page"]

_log = logging.getLogger(__name__)

# A batch makes some thousand short-lived objects. At the default of 700 the collector of reference cycles
# walks them several times, which took a tenth of an event's processor time.
_GC_THRESHOLD = 50_000


def check(settings: Settings) -> tuple[list[ConfiguredStream], WebConfigFile | None]:
    """Return the configured streams and the web configuration file.

    All files are checked, but no broker and no registry is asked.

    Raises:
        ConfigError: Lists the problems of keys, or else those of files.
    """
    problems = property_problems(settings.kafka) if settings.kafka else []
    problems += missing_libraries(settings.inputs.values())
    if settings.schema_registry:
        problems += registry_problems(settings.schema_registry)
    try:
        web_config = _web_config(settings.http)
    except ConfigError as error:
        problems += error.problems or [str(error)]
    else:
        if settings.page.enabled:
            problems += _open_snippets(settings, web_config)
    try:
        streams = load_streams(settings)
    except ConfigError as error:
        problems += error.problems
    refuse_problems("the configuration", problems)
    return streams, web_config


def _web_config(http: HttpSettings) -> WebConfigFile | None:
    """Return the web configuration file, if one is named; raise ConfigError if it cannot be used."""
    return None if http.web_config is None else WebConfigFile(http.web_config, needs_users=bool(http.users))


def _open_snippets(settings: Settings, web_config: WebConfigFile | None) -> list[str]:
    """Return the streams whose texts a page without a login would show to everybody, as problems."""
    if _has_login(web_config):
        return []
    return [
        f"streams.{stream.key}.snippet_bytes: texts are shown behind a login only; set http.web_config to "
        "a file with basic_auth_users, or snippet_bytes to 0"
        for stream in settings.streams
        if stream.snippet_bytes
    ]


def _has_login(web_config: WebConfigFile | None) -> bool:
    return web_config is not None and web_config.rules().has_login


def serve(settings: Settings, roles: Collection[Role]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        settings: The configuration.
        roles: The roles to serve.

    Raises:
        ConfigError: The configuration cannot be used, or the HTTP address cannot be bound.
        ServiceError: Kafka failed in a way that waiting does not repair.
    """
    streams, web_config = check(settings)
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
    health.set_condition(ReadinessCondition.BASELINES_LOADED, is_met=True)
    if web_config is not None:
        telemetry[WEB_CONFIG_VALID].set_function(lambda: web_config.is_valid)
    lifetime = _ended_by_signals()
    adjust_logging(settings.log)
    routes = [metrics_route(telemetry.registry)]
    with ExitStack() as running:
        if settings.page.enabled:
            routes += running.enter_context(_page(settings, web_config, telemetry.marked))[1]
        running.enter_context(
            serving(
                settings.http,
                routes,
                health_routes(health),
                web_config,
                SYSTEM_CLOCK,
                lambda reason: telemetry[LOGINS_REFUSED].labels(reason).inc(),
            )
        )
        schemas = running.enter_context(
            open_schema_registry(settings, settings.inputs.values(), SYSTEM_CLOCK)
        )
        # The products of a batch are small: with more threads, BLAS spends a second core on waiting.
        running.enter_context(threadpool_limits(limits=1, user_api="blas"))
        gc.set_threshold(_GC_THRESHOLD)
        sender = HeartbeatSender(
            _login(settings),
            settings.heartbeats_topic,
            name_replica(settings.replica),
            telemetry.activity,
            SYSTEM_CLOCK,
        )
        sender.start()
        running.callback(sender.stop)
        service = Service(
            settings,
            [stream.spec for stream in streams],
            build_decoder(
                streams,
                settings.allowed_lead,
                settings.largest_record,
                settings.inputs,
                schemas,
                age_ms=settings.allowed_age,
            ),
            login=_login(settings),
            descriptions=describe_baselines(streams),
            roles={role: RoleTelemetry(telemetry, role, settings.shards) for role in roles},
            clock=SYSTEM_CLOCK,
            lifetime=lifetime,
        )
        service.run()
        _log.info("stopped")


def serve_page(settings: Settings) -> None:
    """Serve the page alone until SIGTERM or SIGINT; see `serve`.

    Raises:
        ConfigError: The configuration cannot be used, or the HTTP address cannot be bound.
    """
    web_config = _web_config(settings.http)
    problems = property_problems(settings.kafka) + _open_snippets(settings, web_config)
    refuse_problems("the configuration", problems)
    lifetime = _ended_by_signals()
    adjust_logging(settings.log)
    with (
        _page(settings, web_config, lambda *_: None) as (reader, routes),
        # The page has no metrics; its log says which logins are refused.
        serving(
            settings.http,
            routes,
            page_health_routes(reader),
            web_config,
            SYSTEM_CLOCK,
            lambda _: None,
        ),
    ):
        lifetime.stopping.wait()
        # The signal's handler may have had no thread for it.
        lifetime.come_round()
        _log.info("stopped")


def _login(settings: Settings) -> Login:
    return Login(settings.kafka, partial(read_kafka_secrets, os.environ))


@contextmanager
def _page(
    settings: Settings,
    web_config: WebConfigFile | None,
    on_mark: Callable[[Mark, Mark | None], object],
) -> Iterator[tuple[TopicFollower, list[BaseRoute]]]:
    """Read window results and marks while the context lasts; yield the results' reader, and the routes."""
    streams = settings.by_stream
    results = Results(streams, settings.page.max_windows, shows_snippets=_has_login(web_config))

    def show(mark: Mark, before: Mark | None) -> None:
        # Only streams of the configuration become series.
        if mark.stream is None or mark.stream in streams:
            on_mark(mark, before)

    marks = Marks(show)
    watch, history_ms = ServiceWatch(), settings.page.history
    readers = [
        TopicFollower(_login(settings), topic, receive, SYSTEM_CLOCK, history_ms=history_ms)
        for topic, receive in (
            (settings.topics.windows, results.receive),
            (settings.topics.marks, marks.receive),
        )
    ]
    results.source = readers[0]
    watch.source = TopicFollower(
        _login(settings),
        settings.heartbeats_topic,
        lambda record: watch.receive(record, SYSTEM_CLOCK.wall_ms()),
        SYSTEM_CLOCK,
        history_ms=HOUR_MS,
        on_refresh=lambda admin: watch.look(find_topic_faults(admin, settings)),
    )
    readers.append(watch.source)
    site = Site(results, settings, SYSTEM_CLOCK.wall_ms, marks, watch)
    for reader in readers:
        reader.start()
    try:
        yield readers[0], site.routes()
    finally:
        for reader in readers:
            reader.stop()


def _ended_by_signals() -> Lifetime:
    """Return the lifetime of the process, which SIGTERM and SIGINT end."""
    lifetime = Lifetime()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: lifetime.stop())
    return lifetime
