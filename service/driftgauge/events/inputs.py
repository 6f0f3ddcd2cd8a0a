"""The readers of topics, each built from the topic's settings."""

from collections.abc import Mapping

from driftgauge.config.inputs import InputSettings
from driftgauge.events.deserializers import deserialize_bytes, deserialize_cloudevent, deserialize_json
from driftgauge.events.mapped import Deserializer, MappedReader

__all__ = ["build_readers"]

_DESERIALIZERS: Mapping[str, Deserializer] = {
    "json": deserialize_json,
    "bytes": deserialize_bytes,
    "cloudevents": deserialize_cloudevent,
}


def build_readers(inputs: Mapping[str, InputSettings]) -> dict[str, MappedReader]:
    """Return the readers of the topics that have a mapping, by topic."""
    return {
        topic: MappedReader(settings, _DESERIALIZERS[settings.encoding]) for topic, settings in inputs.items()
    }
