"""The readers of topics, each built from the topic's settings."""

from collections.abc import Iterable, Mapping

from driftgauge.config.inputs import InputSettings
from driftgauge.errors import refuse_problems
from driftgauge.events.encodings import build_encoding, is_installed
from driftgauge.events.fields import VectorField, compile_fields
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.reader import Reader
from driftgauge.events.schemas import SchemaSource

__all__ = ["build_reader", "build_readers", "missing_libraries"]

_REMEDY = "pip install driftgauge[registry]"


def build_readers(
    inputs: Mapping[str, InputSettings], schemas: SchemaSource | None = None
) -> dict[str, Reader]:
    """Return the readers of the topics that have a mapping, by topic.

    Args:
        inputs: The settings by topic.
        schemas: Where schemas come from, for encodings that need them.

    Raises:
        ConfigError: A library is not installed, or there is no source of schemas.
    """
    refuse_problems("inputs", missing_libraries(inputs.values()))
    return {
        topic: Reader(
            settings,
            build_encoding(topic, settings, schemas),
            compile_fields(settings),
            [*map(VectorField, settings.vectors)],
        )
        for topic, settings in inputs.items()
    }


def build_reader(
    topic: str, inputs: Mapping[str, InputSettings], schemas: SchemaSource | None = None
) -> Reader:
    """Return the reader of one topic, as `build_readers`; without a mapping that of the own contract."""
    settings = inputs.get(topic)
    return build_own_reader() if settings is None else build_readers({topic: settings}, schemas)[topic]


def missing_libraries(inputs: Iterable[InputSettings]) -> list[str]:
    """Return a problem for each encoding whose library is not installed."""
    encodings = dict.fromkeys(settings.encoding for settings in inputs)
    return [
        f"inputs: encoding {encoding} needs the extra registry; {_REMEDY}"
        for encoding in encodings
        if not is_installed(encoding)
    ]
