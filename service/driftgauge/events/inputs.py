"""The readers of topics, each built from the topic's settings."""

from collections.abc import Iterable, Mapping
from functools import partial
from importlib.util import find_spec

from driftgauge.config.inputs import InputSettings
from driftgauge.config.paths import parse_path
from driftgauge.errors import ConfigError, refuse_problems
from driftgauge.events.deserializers import (
    compile_array,
    deserialize_bytes,
    deserialize_cloudevent,
    deserialize_json,
)
from driftgauge.events.mapped import Deserializer, MappedReader
from driftgauge.events.needs import Need, find_needs
from driftgauge.events.own_contract import OwnContractReader
from driftgauge.events.schemas import SchemaSource

__all__ = ["build_reader", "build_readers", "missing_libraries"]

_DESERIALIZERS: Mapping[str, Deserializer] = {
    "json": deserialize_json,
    "bytes": deserialize_bytes,
    "cloudevents": deserialize_cloudevent,
}
_LIBRARIES = {"avro": "fastavro", "protobuf": "google.protobuf", "inference": "google.protobuf"}
_REMEDY = "pip install driftgauge[registry]"


def build_readers(
    inputs: Mapping[str, InputSettings], schemas: SchemaSource | None = None
) -> dict[str, MappedReader]:
    """Return the readers of the topics that have a mapping, by topic.

    Args:
        inputs: The settings by topic.
        schemas: Where schemas come from, for encodings that need them.

    Raises:
        ConfigError: A library is not installed, or there is no source of schemas.
    """
    refuse_problems("inputs", missing_libraries(inputs.values()))
    return {topic: _build_reader(topic, settings, schemas) for topic, settings in inputs.items()}


def build_reader(
    topic: str, inputs: Mapping[str, InputSettings], schemas: SchemaSource | None = None
) -> MappedReader:
    """Return the reader of one topic, as `build_readers`; without a mapping that of the own contract."""
    settings = inputs.get(topic)
    return OwnContractReader() if settings is None else build_readers({topic: settings}, schemas)[topic]


def missing_libraries(inputs: Iterable[InputSettings]) -> list[str]:
    """Return a problem for each encoding whose library is not installed."""
    encodings = dict.fromkeys(settings.encoding for settings in inputs)
    return [
        f"inputs: encoding {encoding} needs the extra registry; {_REMEDY}"
        for encoding in encodings
        if (library := _LIBRARIES.get(encoding)) is not None and not _is_installed(library)
    ]


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        # Its parent package is missing.
        return False


def _build_reader(topic: str, settings: InputSettings, schemas: SchemaSource | None) -> MappedReader:
    """Return the reader of a topic; a library is imported only where it is used."""
    if settings.encoding == "inference":
        from driftgauge.events.inference import RAW_DATATYPES, deserialize_inference  # noqa: PLC0415

        datatypes = {RAW_DATATYPES[vector.embedding.dtype] for vector in settings.vectors}
        return MappedReader(settings, partial(deserialize_inference, datatypes))
    need = find_needs(settings)
    if not settings.needs_registry:
        names = _array_names(settings, need)
        return MappedReader(settings, compile_array(names) if names else _DESERIALIZERS[settings.encoding])
    if schemas is None:
        message = (
            f"inputs.{topic}: encoding {settings.encoding} needs a schema registry; set schema_registry.url"
        )
        raise ConfigError(message)
    if settings.encoding == "avro":
        from driftgauge.events.avro import AvroDeserializer  # noqa: PLC0415

        avro = AvroDeserializer(schemas, need)
        return MappedReader(settings, avro, avro.read_mapped)
    from driftgauge.events.protobuf import ProtobufDeserializer  # noqa: PLC0415

    protobuf = ProtobufDeserializer(schemas, need)
    return MappedReader(settings, protobuf, protobuf.read_mapped)


def _array_names(settings: InputSettings, need: Need) -> list[str]:
    """Return the names on the path to the only vector in JSON; empty where `ArrayParser` cannot serve it."""
    path = settings.vectors[0].embedding.path
    if settings.encoding != "json" or len(settings.vectors) > 1 or path is None:
        return []
    names = []
    for step in parse_path(path):
        if not isinstance(step, str):
            return []
        names.append(step)
        need = need.fields[step]
    # Another field may be a number of the vector, which is no list of numbers after that parser.
    is_vector = need.kinds == {"vector"} and not need.fields and need.items is None
    return names if is_vector else []
