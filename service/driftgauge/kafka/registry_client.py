"""The client of the schema registry: its properties and their check.

The client's libraries are an extra, so this module imports them only where they are used.
"""

import logging
from collections.abc import Mapping
from typing import Any

from driftgauge.config.registry import mask_registry_property
from driftgauge.errors import ConfigError

__all__ = ["RegistryProperties", "connect", "registry_problems"]

RegistryProperties = Mapping[str, str | int | float | bool]

_DEFAULTS: RegistryProperties = {
    # The client's default waits for ever.
    "timeout": 5.0,
    # `SchemaRegistry` retries itself, for as long as the registry is away.
    "max.retries": 0,
}
# Variables of the environment give numbers as text.
_NUMBERS = frozenset(
    {
        *("cache.capacity", "cache.latest.ttl.sec", "max.retries"),
        *("retries.max.wait.ms", "retries.wait.ms", "timeout"),
    }
)
# They log every request at the level INFO, with its address.
_HTTP_LOGGERS = ("httpx", "httpx2")


def connect(properties: RegistryProperties) -> Any:
    """Return a SchemaRegistryClient; it makes no connection before the first request.

    Raises:
        ConfigError: The extra is not installed, or the client refuses a property.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415
    except ImportError as error:
        message = (
            f"schema_registry: the client needs the extra registry ({error}); "
            "pip install driftgauge[registry]"
        )
        raise ConfigError(message) from None
    for name in _HTTP_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return SchemaRegistryClient({**_DEFAULTS, **_with_numbers(properties)})
    except (OSError, TypeError, ValueError) as error:
        message = f"schema_registry: {_hide(str(error), properties)}"
        raise ConfigError(message) from None


def registry_problems(properties: RegistryProperties) -> list[str]:
    """Return the client's objections to the properties, without secret values."""
    try:
        connect(properties).close()
    except ConfigError as error:
        return [str(error)]
    return []


def _with_numbers(properties: RegistryProperties) -> dict[str, str | int | float | bool]:
    """Return the properties, with numbers that are text as numbers."""
    numbers = {}
    for name in _NUMBERS & properties.keys():
        try:
            numbers[name] = float(properties[name])
        except ValueError:
            message = f"{name} must be a number"
            raise ValueError(message) from None
    return {**properties, **numbers}


def _hide(text: str, properties: RegistryProperties) -> str:
    """Return an error's text without the values of secrets."""
    for name, value in properties.items():
        if mask_registry_property(name, value) != value:
            text = text.replace(str(value), "***")
    return text
