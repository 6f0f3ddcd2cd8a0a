"""The readers of topics, each built from the topic's settings."""

from collections.abc import Mapping

from driftgauge.config.inputs import InputSettings
from driftgauge.config.paths import parse_path
from driftgauge.events.array_parser import IS_AVAILABLE
from driftgauge.events.deserializers import (
    ArrayDeserializer,
    deserialize_bytes,
    deserialize_cloudevent,
    deserialize_json,
)
from driftgauge.events.mapped import Deserializer, MappedReader

__all__ = ["build_readers"]

_DESERIALIZERS: Mapping[str, Deserializer] = {
    "json": deserialize_json,
    "bytes": deserialize_bytes,
    "cloudevents": deserialize_cloudevent,
}


def _deserializer(settings: InputSettings) -> Deserializer:
    if settings.encoding == "json" and IS_AVAILABLE and len(settings.vectors) == 1:
        path = settings.vectors[0].embedding.path
        names = [step for step in parse_path(path) if isinstance(step, str)] if path is not None else []
        if path is not None and len(names) == len(parse_path(path)):
            return ArrayDeserializer(names)
    return _DESERIALIZERS[settings.encoding]


def build_readers(inputs: Mapping[str, InputSettings]) -> dict[str, MappedReader]:
    """Return the readers of the topics that have a mapping, by topic."""
    return {topic: MappedReader(settings, _deserializer(settings)) for topic, settings in inputs.items()}
