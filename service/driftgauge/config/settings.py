"""The whole configuration."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from driftgauge.config.fields import NOT_EMPTY, TOPIC, CommitInterval, Duration, Section, Topic, require
from driftgauge.config.inputs import InputSettings
from driftgauge.config.page import PageSettings
from driftgauge.config.properties import KafkaProperties, RegistryProperties
from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.statistics.budget import window_level
from driftgauge.nearest import suggest

__all__ = [
    "LARGEST_RECORD",
    "AlarmSettings",
    "ConnectedSettings",
    "HttpSettings",
    "LogSettings",
    "Right",
    "Settings",
    "TopicSettings",
]

LARGEST_RECORD = 2 * 1024 * 1024
"""The largest value of a record that is read, in bytes, if the configuration names none."""

# A shard is a partition of two topics, and each transaction of COUNT writes to all shards.
_MAX_SHARDS = 1_024

_LAST_PORT = 65_535


class TopicSettings(Section):
    """The names of the topics read and written.

    Attributes:
        events: The topics of events. The service waits until they exist.
        windows: The topic of window results, created if missing. Deployments may share it if their streams
            have different names: the page, `status` and `report` show those of their own configuration.
        dead_letters: The topic of refused records, created if missing.
        marks: The topic of deployment marks, which `driftgauge marks add` writes, and creates if missing.
        internal: The prefix of the internal topics `<internal>.partials.<S>`, `<internal>.changelog.<S>` and
            `<internal>.heartbeats`, created if missing; by default `driftgauge.<group>`.
        replication_factor: The replication factor of the topics that the service creates; by default that of
            the events topics.
    """

    events: Annotated[tuple[Topic, ...], Field(strict=False), NOT_EMPTY] = ("embeddings",)
    windows: Topic = "driftgauge.windows"
    dead_letters: Topic = "driftgauge.dead-letters"
    marks: Topic = "driftgauge.marks"
    internal: Topic | None = None
    replication_factor: Annotated[int, Field(ge=1, le=32_767)] | None = None

    @model_validator(mode="after")
    def _require_distinct(self) -> "TopicSettings":
        require(
            len(set(self.external)) == len(self.external),
            "every topic must be named once: the service must not read its own output",
        )
        return self

    @property
    def external(self) -> tuple[str, ...]:
        """Every topic that other programs also read or write."""
        return *self.events, self.windows, self.dead_letters, self.marks


class AlarmSettings(Section):
    """The alarm budget: how often drift may be found if there is none.

    Attributes:
        false_pages_per_year: The expected false pages a year of all streams, windows and segments together.
    """

    false_pages_per_year: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Right(StrEnum):
    """What a user may ask for over HTTP, where no request changes anything."""

    METRICS = "metrics"
    """`/metrics`."""
    READ = "read"
    """Everything else."""


_Port = Annotated[int, Field(ge=0, le=_LAST_PORT)]
_Rights = Annotated[tuple[Annotated[Right, Field(strict=False)], ...], Field(strict=False)]


class HttpSettings(Section):
    """Where and to whom metrics, the page and health are served.

    Attributes:
        host: The address to listen on.
        port: The port of the page, `/metrics` and `/version`; 0 takes any free port.
        health_port: The port of `/livez` and `/readyz`, by plain HTTP without a login; by default the one
            after `port`.
        web_config: The web configuration file with TLS, users and headers; by default plain HTTP without a
            login.
        users: The rights of the users in `web_config`, by name: `metrics` is `/metrics`, `read` everything
            else. By default every user has both.
    """

    host: str = "127.0.0.1"
    port: _Port = 9464
    health_port: _Port | None = None
    web_config: Annotated[Path, Field(strict=False)] | None = None
    users: dict[str, _Rights] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_together(self) -> "HttpSettings":
        require(
            self.health <= _LAST_PORT and (self.health != self.port or self.port == 0),
            "health needs a port of its own; set http.health_port to another one than http.port",
        )
        require(
            not self.users or self.web_config is not None,
            "users have passwords in a web configuration file; name it in http.web_config",
        )
        return self

    @property
    def health(self) -> int:
        """The port of `/livez` and `/readyz`; 0 takes any free port."""
        if self.health_port is not None:
            return self.health_port
        return self.port + 1 if self.port else 0


class LogSettings(Section):
    """What is logged.

    Attributes:
        level: The lowest level that is logged.
        repeat_after: How long a warning or an error is left out after the same one. Numbers with a fraction
            may differ between the two. `0s` leaves none out.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    repeat_after: Duration = 60_000


class Settings(BaseSettings, Section):
    """The whole configuration.

    Attributes:
        kafka: librdkafka's properties, for every client. A command that connects needs `bootstrap.servers`
            and `group.id`, and each deployment needs its own group.
        shards: The number of shards that the streams are spread over. At most this many replicas share the
            windows. It is part of the internal topics' names.
        topics: The topics read and written.
        schema_registry: The properties of confluent-kafka's `SchemaRegistryClient`, required for Avro and
            Protobuf: `url`, `basic.auth.user.info`, `bearer.auth.…`, `ssl.…`, `proxy`, `timeout` in
            seconds (5).
        inputs: How records are read that are not in the service's own format, by events topic.
        streams: The streams watched, each name and each pattern once.
        http: Where and to whom metrics, the page and health are served.
        page: What the page shows.
        alarms: The alarm budget.
        log: What is logged.
        allowed_lead: How far an event's time may be ahead of its Kafka record and of the clock.
        allowed_age: How far an event's time may be behind its Kafka record, or behind the clock if the record
            has no time. A backfill of older events needs more.
        largest_record: The largest value of a record that is read, in bytes after decompression. Larger ones
            are refused unread.
        commit_interval: The time between commits of each stage, at most 5s.
        replica: A lasting name of this replica, if the deployment has one. A successor of the same name
            immediately ends the open transaction of a replica that was killed.
    """

    # Defaults are not validated, since a duration's default would have to be text.
    model_config = SettingsConfigDict(case_sensitive=True, env_nested_delimiter="__", validate_default=False)

    kafka: KafkaProperties = Field(default_factory=dict)
    # A field is checked together with those before it, so that a problem elsewhere hides none here.
    shards: Annotated[int, Field(ge=1, le=_MAX_SHARDS)] = 16
    topics: Annotated[TopicSettings, Field(validate_default=True)] = TopicSettings()
    schema_registry: RegistryProperties = Field(default_factory=dict)
    inputs: dict[Topic, InputSettings] = Field(default_factory=dict)
    streams: Annotated[tuple[StreamSettings, ...], Field(strict=False), NOT_EMPTY]
    http: HttpSettings = HttpSettings()
    page: PageSettings = PageSettings()
    alarms: AlarmSettings = AlarmSettings()
    log: LogSettings = LogSettings()
    allowed_lead: Duration = 300_000
    allowed_age: Duration = 34_560_000_000
    largest_record: Annotated[int, Field(ge=1)] = LARGEST_RECORD
    commit_interval: CommitInterval = 1_000
    replica: Annotated[str, BeforeValidator(str), Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = None

    @field_validator("topics")
    @classmethod
    def _check_internal_topics(cls, topics: TopicSettings, info: ValidationInfo) -> TopicSettings:
        group = info.data.get("kafka", {}).get("group.id")
        shards = info.data.get("shards", 1)
        # Without a broker there are no internal topics.
        for name in (f"partials.{shards}", f"changelog.{shards}", "heartbeats") if group else ():
            topic = _internal_topic(topics, group, name)
            require(
                re.fullmatch(TOPIC, topic) and topic not in topics.external,
                f"{topic} cannot be an internal topic; set another prefix in topics.internal",
            )
        return topics

    @field_validator("inputs")
    @classmethod
    def _check_inputs(
        cls, inputs: dict[str, InputSettings], info: ValidationInfo
    ) -> dict[str, InputSettings]:
        topics, registry = info.data.get("topics"), info.data.get("schema_registry")
        faults = []
        events = inputs if topics is None else topics.events
        for unknown in sorted(set(inputs) - set(events)):
            remedy = suggest(unknown, events, "add it to topics.events")
            faults.append(f"topic {unknown} is not read; {remedy}")
        registered = sorted(topic for topic, settings in inputs.items() if settings.traits.needs_registry)
        if registered and registry == {}:
            names = ", ".join(registered)
            faults.append(f"the schemas of {names} are in a schema registry; set schema_registry.url")
        require(not faults, "; ".join(faults))
        return inputs

    @field_validator("streams")
    @classmethod
    def _check_names(
        cls, streams: tuple[StreamSettings, ...], info: ValidationInfo
    ) -> tuple[StreamSettings, ...]:
        keys = [stream.key for stream in streams]
        configured = ByStream(dict.fromkeys(keys))
        twice = sorted({key for key in keys if keys.count(key) > 1})
        faults = [f"named more than once: {', '.join(twice)}; keep one of each"] if twice else []
        for topic, settings in info.data.get("inputs", {}).items():
            named = set().union(*(vector.stream.known for vector in settings.vectors))
            for name in sorted(name for name in named if name not in configured):
                remedy = suggest(name, configured.names, "add it to streams")
                faults.append(f"inputs.{topic}: no such stream: {name}; {remedy}")
        require(not faults, "; ".join(faults))
        return streams

    @property
    def by_stream(self) -> ByStream[StreamSettings]:
        """The settings of each stream."""
        return ByStream({stream.key: stream for stream in self.streams})

    @property
    def window_level(self) -> float:
        """The significance level of each window, by the alarm budget."""
        sizes_ms = [size_ms for stream in self.streams for size_ms in stream.windows * stream.most]
        return window_level(self.alarms.false_pages_per_year, sizes_ms)

    @property
    def group(self) -> str:
        """The id of the consumer group that reads the events."""
        return str(self.kafka["group.id"])

    @property
    def windows_group(self) -> str:
        """The id of the consumer group that reads the partials."""
        return f"{self.group}.windows"

    @property
    def partials_topic(self) -> str:
        """The topic of the partials, one partition per shard."""
        return _internal_topic(self.topics, self.group, f"partials.{self.shards}")

    @property
    def changelog_topic(self) -> str:
        """The topic of the changelogs, one partition per shard."""
        return _internal_topic(self.topics, self.group, f"changelog.{self.shards}")

    @property
    def heartbeats_topic(self) -> str:
        """The topic of the replicas' heartbeats."""
        return _internal_topic(self.topics, self.group, "heartbeats")

    def inputs_of(self, topic: str) -> dict[str, InputSettings]:
        """Return the inputs of one topic alone; none if its records are in the service's contract."""
        return {name: each for name, each in self.inputs.items() if name == topic}

    def __repr__(self) -> str:
        return f"Settings({self.model_dump(mode='json')})"

    __str__ = __repr__


def _internal_topic(topics: TopicSettings, group: str, name: str) -> str:
    return f"{topics.internal or f'driftgauge.{group}'}.{name}"


class ConnectedSettings(Settings):
    """The configuration of a command that connects to Kafka, so that `kafka` is required."""

    kafka: KafkaProperties
