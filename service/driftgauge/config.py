"""The configuration: one YAML file, the environment laid over it, checked as a whole."""

import re
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from driftgauge.core.dependence import MIN_WINDOWS
from driftgauge.core.durations import format_duration
from driftgauge.environment import override
from driftgauge.errors import ConfigError
from driftgauge.fields import TOPIC, CommitInterval, Duration, PositiveDuration, Time, Topic, not_empty

__all__ = [
    "AlarmSettings",
    "HttpSettings",
    "Settings",
    "SmallestDrift",
    "StreamSettings",
    "TopicSettings",
    "WarmUp",
    "load_settings",
]

# driftgauge's correctness rests on these, so it sets them itself.
_OWNED_PROPERTIES = frozenset(
    {
        "auto.commit.enable",
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.protocol",
        "isolation.level",
        "partition.assignment.strategy",
        "transactional.id",
    }
)
_REQUIRED_PROPERTIES = ("bootstrap.servers", "group.id")
_SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|token|\.pem$|oauthbearer\.config|jaas", re.IGNORECASE
)

# A window is summed from its panes at each closing. 1m beside 1d makes 1,440 of them; with sizes
# that share less, ten streams would keep the loop busy for a second a round.
_MAX_PANES_PER_WINDOW = 1_500

# Far beyond any use, and far from where the end of a window could not be written as a date.
_MAX_WINDOW_MS = 3_660 * 86_400_000


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        message = "a key stands twice"
        raise ValueError(message)
    return names


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class TopicSettings(_Section):
    """The topics read and written.

    Attributes:
        events: Read.
        windows: Results.
        dead_letters: Refused records.
        state: The state topic of each events topic; one not named here is driftgauge.state.<group>.<topic>.
    """

    events: Annotated[tuple[Topic, ...], Field(strict=False), AfterValidator(not_empty)] = ("embeddings",)
    windows: Topic = "driftgauge.windows"
    dead_letters: Topic = "driftgauge.dead-letters"
    state: dict[Topic, Topic] = {}

    @model_validator(mode="after")
    def _apart(self) -> "TopicSettings":
        unread = sorted(set(self.state) - set(self.events))
        if unread:
            message = f"state names topics that are not read: {', '.join(unread)}"
            raise ValueError(message)
        every = [*self.events, self.windows, self.dead_letters, *self.state.values()]
        if len(set(every)) < len(every):
            message = "every topic must be named once: what is written must not be read again"
            raise ValueError(message)
        return self


class SmallestDrift(_Section):
    """The smallest drift worth finding.

    Attributes:
        js_divergence: As a base-2 Jensen-Shannon divergence; 0.01 is a distance of 0.1.
        mean_shift: As a shift of the mean, its Mahalanobis length squared.
    """

    js_divergence: Annotated[float, Field(gt=0, le=1)] = 0.01
    mean_shift: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05


class WarmUp(_Section):
    """When the operator declares a stream clean, event time in ms: it shows how related events are."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: Time = Field(alias="from")
    end: Time = Field(alias="until")

    @model_validator(mode="after")
    def _lasts(self) -> "WarmUp":
        if self.end <= self.start:
            message = "until must be later than from"
            raise ValueError(message)
        return self


class AlarmSettings(_Section):
    """How often drift may be found where there is none.

    Attributes:
        false_pages_per_year: The pages to expect of all streams, windows and segments together.
    """

    false_pages_per_year: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class StreamSettings(_Section):
    """How one stream is watched; durations in ms.

    Attributes:
        name: The stream's name.
        baseline: The file of its baseline.
        windows: The window sizes.
        allowed_disorder, allowed_lateness, idle_timeout, incomplete_after, min_events: See `StreamSpec`.
        smallest_drift: The smallest drift worth finding.
        warm_up: When the stream is declared clean; None: its dependence is left to the baseline.
        segments: The keys of the segments that are judged apart as well.
        drift_severity: How urgent drift is, for whoever is alerted.
        overdue_after: How long after a window was closed the next one is overdue, for whoever is alerted;
            None: two windows and all that may hold one up.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    baseline: Annotated[Path, Field(strict=False)]
    windows: Annotated[tuple[PositiveDuration, ...], Field(strict=False), AfterValidator(not_empty)]
    allowed_disorder: Duration = 30_000
    allowed_lateness: Duration = 600_000
    idle_timeout: PositiveDuration = 60_000
    incomplete_after: PositiveDuration = 300_000
    min_events: Annotated[int, Field(ge=1)] | None = None
    smallest_drift: SmallestDrift = SmallestDrift()
    warm_up: WarmUp | None = None
    segments: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_once)] = ()
    drift_severity: Literal["critical", "warning", "info"] = "warning"
    overdue_after: PositiveDuration | None = None

    @field_validator("windows")
    @classmethod
    def _share_panes(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(windows)) < len(windows):
            message = "a window size stands twice"
            raise ValueError(message)
        if max(windows) > _MAX_WINDOW_MS:
            message = f"a window lasts at most {format_duration(_MAX_WINDOW_MS)}"
            raise ValueError(message)
        if max(windows) // gcd(*windows) > _MAX_PANES_PER_WINDOW:
            message = (
                f"the largest window holds more than {_MAX_PANES_PER_WINDOW:,} panes of "
                f"{format_duration(gcd(*windows))}, the longest that all sizes are a multiple of; "
                "choose sizes that share a larger divisor"
            )
            raise ValueError(message)
        return tuple(sorted(windows))

    @model_validator(mode="after")
    def _warm_up_teaches(self) -> "StreamSettings":
        if self.warm_up is None:
            return self
        size_ms = min(self.windows)
        # Only windows that lie within it whole are taken.
        whole = self.warm_up.end // size_ms - -(-self.warm_up.start // size_ms)
        if whole < MIN_WINDOWS:
            message = (
                f"warm_up holds {max(whole, 0)} whole windows of {format_duration(size_ms)}, and from fewer "
                f"than {MIN_WINDOWS} nothing is learned; declare a longer time clean, or leave it out"
            )
            raise ValueError(message)
        return self


class HttpSettings(_Section):
    """Where metrics and health are served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class Settings(_Section):
    """The whole configuration.

    Attributes:
        kafka: librdkafka properties, for every client.
        topics: The topics read and written.
        streams: The streams watched, each named once.
        http: Where metrics and health are served.
        alarms: How often drift may be found where there is none.
        allowed_lead: How far, in ms, an event's time may be ahead of its Kafka record and of the clock.
        commit_interval: How often, in ms, what was counted is committed.
        replica: This replica's own and lasting name, where it has one: its successor of the same name
            ends what it left unfinished at once.
        state_rewrite_commits: After so many commits the whole state is written anew, for brokers
            that do not compact; None: never.
    """

    kafka: dict[str, str | int | float | bool]
    topics: TopicSettings = TopicSettings()
    streams: Annotated[tuple[StreamSettings, ...], Field(strict=False), AfterValidator(not_empty)]
    http: HttpSettings = HttpSettings()
    alarms: AlarmSettings = AlarmSettings()
    allowed_lead: Duration = 300_000
    commit_interval: CommitInterval = 1_000
    replica: Annotated[str, BeforeValidator(str), Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = None
    state_rewrite_commits: Annotated[int, Field(ge=1)] | None = None

    @field_validator("kafka", mode="before")
    @classmethod
    def _are_properties(cls, kafka: object) -> object:
        if not isinstance(kafka, dict):
            return kafka
        problems = [f"{name} is missing" for name in _REQUIRED_PROPERTIES if not kafka.get(name)]
        problems += [f"{name} is set by driftgauge itself" for name in sorted(_OWNED_PROPERTIES & set(kafka))]
        problems += [
            f"{name} must be text, a number, true or false"
            for name, value in kafka.items()
            if not isinstance(value, str | int | float)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return kafka

    @field_validator("streams")
    @classmethod
    def _named_once(cls, streams: tuple[StreamSettings, ...]) -> tuple[StreamSettings, ...]:
        names = [stream.name for stream in streams]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"named more than once: {', '.join(twice)}"
            raise ValueError(message)
        return streams

    @model_validator(mode="after")
    def _state_has_topics(self) -> "Settings":
        names = [*self.topics.events, self.topics.windows, self.topics.dead_letters]
        names += self.state_topics.values()
        for topic, state in self.state_topics.items():
            if not re.fullmatch(TOPIC, state) or names.count(state) > 1:
                message = f"{state} cannot be the state topic of {topic}; name another under topics.state"
                raise ValueError(message)
        return self

    @property
    def group(self) -> str:
        """The consumer group's id."""
        return str(self.kafka["group.id"])

    @property
    def state_topics(self) -> dict[str, str]:
        """The state topic of each events topic."""
        return {
            topic: self.topics.state.get(topic, f"driftgauge.state.{self.group}.{topic}")
            for topic in self.topics.events
        }

    @field_serializer("kafka")
    def _mask_secrets(self, kafka: dict[str, Any]) -> dict[str, Any]:
        return {name: "***" if is_secret(name) else value for name, value in kafka.items()}

    def __repr__(self) -> str:
        return f"Settings({self.model_dump(mode='json')})"

    __str__ = __repr__


def is_secret(property_name: str) -> bool:
    """Tell whether a librdkafka property's value must never be printed."""
    return _SECRET_PROPERTY.search(property_name) is not None


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file, lay the environment over it, check all of it.

    Relative baseline paths are taken from the configuration file's folder.

    Raises:
        ConfigError: Lists every problem found, each with the key it stands at; values are not
            quoted from `kafka`, so no secret is printed.
    """
    tree, problems = _read_yaml(path)
    problems += override(tree, environ, Settings.model_fields)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors(include_url=False, include_input=False)]
    if problems:
        message = f"{path} cannot be used:"
        raise ConfigError(message, problems)
    streams = tuple(
        stream.model_copy(update={"baseline": path.parent / stream.baseline}) for stream in settings.streams
    )
    return settings.model_copy(update={"streams": streams})


class _Loader(yaml.SafeLoader):
    """Notes the keys that stand twice, of which YAML keeps the last without a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        line = node.start_mark.line + 1
        self.problems += [
            f"{name}: stands more than once in the mapping that begins on line {line}"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the file's tree and the problems met."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        tree = loader.get_single_data()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); name an existing file with --config"
        raise ConfigError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); write it as UTF-8"
        raise ConfigError(message) from None
    except yaml.YAMLError as error:
        # Neither the parser's words nor its cause: both quote the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        where = "a control character" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        message = f"{path} is not YAML: {where}; text that holds one of : # & * ! % needs quotes"
        raise ConfigError(message) from None
    except ValueError:
        # YAML takes it for one by its form. Not quoted either.
        message = f"{path} holds a date or a number that cannot be; mend it, or put it in quotes"
        raise ConfigError(message) from None
    if not isinstance(tree, dict):
        message = f"{path} does not hold a YAML mapping; it needs at least the keys kafka and streams"
        raise ConfigError(message)
    return tree, loader.problems


# pydantic's words for these are Python's, not YAML's.
_KINDS = {"tuple_type": "must be a list", "model_type": "must be a mapping", "dict_type": "must be a mapping"}


def _describe(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {_KINDS.get(problem['type'], problem['msg'].removeprefix('Value error, '))}"
