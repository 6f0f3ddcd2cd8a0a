"""The encodings of records, a module each, by the names that they have in a configuration."""

from importlib import import_module
from importlib.util import find_spec

from driftgauge.config.inputs import ENCODINGS, InputSettings
from driftgauge.errors import ConfigError
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.schemas import SchemaSource

__all__ = ["build_encoding", "is_installed"]


def build_encoding(topic: str, settings: InputSettings, schemas: SchemaSource | None) -> Encoding:
    """Return what decodes a topic's records.

    Raises:
        ConfigError: There is no source of schemas, and the encoding needs one.
    """
    if settings.traits.needs_registry and schemas is None:
        message = (
            f"inputs.{topic}: encoding {settings.encoding} needs a schema registry; set schema_registry.url"
        )
        raise ConfigError(message)
    # The library of an extra is imported only where it is used.
    module = import_module(f"{__name__}.{settings.encoding}")
    encoding: Encoding = module.build(settings, schemas)
    return encoding


def is_installed(encoding: str) -> bool:
    """Return whether the library of an encoding is installed."""
    try:
        return find_spec(ENCODINGS[encoding].library or __name__) is not None
    except ModuleNotFoundError:
        # Its parent package is missing.
        return False
