"""The client of the schema registry: its properties, their check, and the meaning of its errors.

The client's libraries are an extra, so this module imports them only where they are used, and knows errors by
their attributes.
"""

import logging
from collections.abc import Mapping
from typing import Any

from driftgauge.config.properties import mask_property
from driftgauge.errors import ConfigError

__all__ = [
    "RegistryProperties",
    "connect",
    "describe",
    "is_final",
    "is_not_found",
    "is_unknown",
    "is_unreachable",
    "registry_problems",
    "remedy",
]

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

_NOT_FOUND = 404
_UNAUTHORIZED = (401, 403)
_TOKEN_ERROR = "OAuthTokenError"  # noqa: S105 - the name of a class
_CONNECTION_ERRORS = frozenset({"TransportError", "OSError", _TOKEN_ERROR})
_LONGEST_TEXT = 200


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
        if mask_property(name, value) != value:
            text = text.replace(str(value), "***")
    return text


def is_unknown(error: Exception) -> bool:
    """Return whether the registry answers that it has no such schema.

    Its error codes are 404 and two digits; without one another server has answered.
    """
    code = getattr(error, "error_code", None)
    return is_not_found(error) and isinstance(code, int) and code // 100 == _NOT_FOUND


def is_not_found(error: Exception) -> bool:
    """Return whether a server answers 404, whether or not it is a registry."""
    return getattr(error, "http_status_code", None) == _NOT_FOUND


def is_final(error: Exception) -> bool:
    """Return whether the server would answer the next request alike: no such path, or no right."""
    return getattr(error, "http_status_code", None) in {_NOT_FOUND, *_UNAUTHORIZED}


def is_unreachable(error: Exception) -> bool:
    """Return whether no request can succeed: the registry or its token endpoint cannot be reached."""
    return any(each.__name__ in _CONNECTION_ERRORS for each in type(error).__mro__)


def describe(error: Exception) -> str:
    """Return an error in words, without secrets."""
    name = type(error).__name__
    # An error of the token endpoint may quote what was sent.
    return name if name == _TOKEN_ERROR else f"{name}: {error}"[:_LONGEST_TEXT]


def remedy(error: Exception) -> str:
    """Return what the operator can do about an error."""
    status = getattr(error, "http_status_code", None)
    if status in _UNAUTHORIZED or type(error).__name__ == _TOKEN_ERROR:
        return "check schema_registry's credentials, and that they may read the subjects"
    if status == _NOT_FOUND:
        return "check the path in schema_registry.url: no schema registry answers there"
    if status is not None:
        return "check the schema registry"
    return "check that the schema registry runs and that schema_registry.url is its address"
