"""The schemas of a schema registry, fetched in a background thread so that polling never waits for them."""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, Self, TypeAlias

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.config.inputs import InputSettings
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import Schema, SchemaFault, SchemaKind
from driftgauge.kafka.registry_client import (
    connect,
    describe,
    is_final,
    is_not_found,
    is_unknown,
    is_unreachable,
    remedy,
)

__all__ = ["RegistryClient", "SchemaRegistry", "open_schema_registry"]

_log = logging.getLogger(__name__)

_Key: TypeAlias = tuple[int, SchemaKind]

# A schema may be registered just before its first record, and a registry's replicas follow its leader.
_TRIES = 3
_RETRY_S = 1.0
# Records that no serializer wrote name a new schema each, so after many unknown ids within an hour the next
# ones are asked for once only.
_MANY_UNKNOWN = 100
_MANY_WITHIN_S = 3_600.0
_ASK_AGAIN_S = 60.0
_MAX_UNKNOWN = 10_000
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 10.0
_LOG_INTERVAL_S = 60.0
_JOIN_S = 1.0


class RegistryClient(Protocol):
    """What is used of confluent-kafka's SchemaRegistryClient."""

    def get_schema(self, schema_id: int, subject_name: str | None = None, fmt: str | None = None) -> Any:
        """Return the schema with this id."""

    def get_version(
        self,
        subject_name: str,
        version: int | str,
        deleted: bool = False,  # noqa: FBT001, FBT002
        fmt: str | None = None,
    ) -> Any:
        """Return a subject's version as registered."""


@dataclass(slots=True)
class _Request:
    """A schema that is asked for.

    Attributes:
        due_s: The monotonic time of the next try.
        tries: How many tries are left.
        failures: How many tries have failed, other than by an answer that the schema is unknown.
        answers: How many answers the registry had given at the first failure.
        error: The last failure; None before one.
    """

    due_s: float
    tries: int
    failures: int = 0
    answers: int = 0
    error: Exception | None = None


class SchemaRegistry:
    """Finds schemas by their id; a `SchemaSource`.

    An id that the registry does not know is asked for three times, then it is unknown; after a minute it is
    asked for again. While the registry is away, no schema is asked for. A schema that the registry denies or
    fails to give is not known yet; it has pauses of its own, so that others do not wait for it.
    """

    def __init__(self, client: RegistryClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._changed = threading.Condition()
        # Schemas, or why there is none that can be used.
        self._found: dict[_Key, Schema | str] = {}
        # Until when each is unknown, the oldest first.
        self._unknown: dict[_Key, float] = {}
        self._requests: dict[_Key, _Request] = {}
        self._is_closed = False
        self._answers = 0
        # While the registry is away.
        self._pause_s = 0.0
        self._resume_s = 0.0
        self._logged_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="schema-registry", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        # A request may be under way; the thread is a daemon, so its end need not be awaited.
        self._thread.join(_JOIN_S)

    def find(self, schema_id: int, kind: SchemaKind) -> Schema | None:
        """Return the schema with this id, None while it is not known yet; see `SchemaSource`."""
        key = schema_id, kind
        found = self._found.get(key)
        if isinstance(found, Schema):
            return found
        if found is not None:
            raise EventError(Reason.UNDECODABLE, f"value: schema {schema_id} {found}")
        now_s = self._clock.monotonic_s()
        with self._changed:
            until_s = self._unknown.get(key)
            if (until_s is None or now_s >= until_s) and key not in self._requests:
                is_patient = until_s is None and not self._are_many_unknown(now_s)
                self._requests[key] = _Request(now_s, _TRIES if is_patient else 1)
                self._changed.notify()
        if until_s is None:
            return None
        raise EventError(Reason.UNDECODABLE, f"value: schema {schema_id} is unknown to the schema registry")

    def fault(self, schema_id: int, kind: SchemaKind) -> SchemaFault | None:
        """Return why a schema is not known yet; None if no try has failed."""
        with self._changed:
            request = self._requests.get((schema_id, kind))
        if request is None or request.error is None:
            return None
        return SchemaFault(describe(request.error), remedy(request.error), is_final(request.error))

    def step(self) -> float | None:
        """Ask for the schema that is due; return the seconds until the next one is, None if there is none."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            if not self._requests:
                return None
            key = min(self._requests, key=lambda key: self._requests[key].due_s)
            wait_s = max(self._requests[key].due_s, self._resume_s) - now_s
        if wait_s > 0:
            return wait_s
        try:
            found = self._fetch(*key)
        except Exception as error:  # noqa: BLE001 - the thread must survive whatever a server answers
            if is_unknown(error):
                self._answers += 1
                self._miss(key)
            elif is_not_found(error) and self._is_given_up(key):
                self._give_up(key)
            else:
                self._fail(key, error)
                return 0.0
        else:
            self._answers += 1
            with self._changed:
                self._found[key] = found
                del self._requests[key]
                self._unknown.pop(key, None)
        self._recover()
        return 0.0

    def _run(self) -> None:
        while True:
            wait_s = self.step()
            with self._changed:
                if self._is_closed:
                    return
                # A request may have been added since the step.
                if wait_s is not None or not self._requests:
                    self._changed.wait(wait_s)

    def _fetch(self, schema_id: int, kind: SchemaKind) -> Schema | str:
        """Return a schema with its references, or why it cannot be used."""
        # Only the Protobuf compiler reads the source of a schema.
        fmt = "serialized" if kind == "PROTOBUF" else None
        schema = self._client.get_schema(schema_id, fmt=fmt)
        registered_kind = schema.schema_type or "AVRO"
        if registered_kind != kind:
            return f"is of the type {registered_kind}, not {kind}; correct the encoding of the topic's input"
        references: dict[str, str] = {}
        try:
            self._add_references(schema, fmt, references)
        except RecursionError:
            return "has references that refer to each other in a circle, or in too long a chain; correct them"
        return Schema(str(schema.schema_str), tuple(references.items()))

    def _add_references(self, schema: Any, fmt: str | None, references: dict[str, str]) -> None:
        """Add the texts of what a schema refers to, each after those that it refers to itself."""
        for reference in schema.references or ():
            if reference.name not in references:
                # A version that was deleted softly is still referred to.
                registered = self._client.get_version(reference.subject, reference.version, True, fmt)  # noqa: FBT003
                self._add_references(registered.schema, fmt, references)
                references[reference.name] = str(registered.schema.schema_str)

    def _miss(self, key: _Key) -> None:
        """Ask for an unknown schema again, or give up for a while."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            request = self._requests[key]
            request.tries -= 1
            if request.tries:
                request.due_s = now_s + _RETRY_S * (_TRIES - request.tries)
                request.failures = 0
                return
        self._give_up(key)

    def _are_many_unknown(self, now_s: float) -> bool:
        """Return whether many ids have lately turned out to be unknown."""
        latest = islice(reversed(self._unknown.values()), _MANY_UNKNOWN - 1, _MANY_UNKNOWN)
        return any(until_s > now_s - _MANY_WITHIN_S for until_s in latest)

    def _is_given_up(self, key: _Key) -> bool:
        """Return whether a schema that is not found, without a registry's error code, is unknown.

        The path of the URL may be wrong instead, unless the registry answers for other schemas meanwhile.
        """
        request = self._requests[key]
        is_answering = self._answers > request.answers and request.failures > 0
        return key in self._unknown or (is_answering and request.failures + 1 >= _TRIES)

    def _give_up(self, key: _Key) -> None:
        """Let a schema be unknown for a while."""
        with self._changed:
            del self._requests[key]
            self._unknown.pop(key, None)
            self._unknown[key] = self._clock.monotonic_s() + _ASK_AGAIN_S
            while len(self._unknown) > _MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]

    def _fail(self, key: _Key, error: Exception) -> None:
        """Ask for a schema again later, longer each time; pause all requests if the registry is away."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            request = self._requests[key]
            if not request.failures:
                request.answers = self._answers
            request.failures += 1
            request.error = error
            if is_unreachable(error):
                self._pause_s = min(2 * self._pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                self._resume_s = request.due_s = now_s + self._pause_s
            else:
                self._pause_s = self._resume_s = 0.0
                request.due_s = now_s + min(_FIRST_PAUSE_S * 2 ** (request.failures - 1), _LONGEST_PAUSE_S)
        if self._logged_s is None or now_s - self._logged_s >= _LOG_INTERVAL_S:
            self._logged_s = now_s
            _log.warning(
                "the schema registry gives no schemas; the partitions that need them wait",
                extra={"schema_id": key[0], "error": describe(error), "remedy": remedy(error)},
            )

    def _recover(self) -> None:
        """End the pause of an outage, and report its end unless other schemas still fail."""
        self._pause_s = self._resume_s = 0.0
        with self._changed:
            is_failing = any(request.failures for request in self._requests.values())
        if self._logged_s is not None and not is_failing:
            _log.info("the schema registry gives schemas again")
            self._logged_s = None


@contextmanager
def open_schema_registry(
    settings: Settings, inputs: Iterable[InputSettings], clock: Clock
) -> Iterator[SchemaRegistry | None]:
    """Yield the running schema registry, None if no input needs one.

    Args:
        settings: The configuration.
        inputs: The settings of the topics that are read.
        clock: The clock of retries and pauses.

    Raises:
        ConfigError: The extra is not installed, or the client refuses a property.
    """
    if not any(each.traits.needs_registry for each in inputs):
        yield None
        return
    with connect(settings.schema_registry) as client, SchemaRegistry(client, clock) as schemas:
        yield schemas
