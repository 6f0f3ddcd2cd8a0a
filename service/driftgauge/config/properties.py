"""Rules for the properties of the clients of Kafka and the schema registry: required, owned, secret."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

__all__ = ["KafkaProperties", "RegistryProperties", "code_faults", "is_secret", "mask_property"]

# Exactly-once counting depends on these, so driftgauge sets them itself.
_OWNED_PROPERTIES = frozenset(
    {
        "auto.commit.enable",
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "partition.assignment.strategy",
        "transactional.id",
    }
)
# librdkafka loads the libraries that the first three name, and has a shell run the command of the others.
_CODE_PROPERTIES = frozenset(
    {
        "plugin.library.paths",
        "ssl.engine.location",
        "ssl.providers",
        "sasl.kerberos.keytab",
        "sasl.kerberos.kinit.cmd",
        "sasl.kerberos.principal",
    }
)
_REQUIRED_PROPERTIES = ("bootstrap.servers", "group.id")
_TOKEN_ADDRESS = "sasl.oauthbearer.token.endpoint.url"  # noqa: S105 - the name of a property
_SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|token|\.pem$|oauthbearer\.config|jaas|basic\.auth\.user\.info", re.IGNORECASE
)
# The credentials within an address; a password may hold any character.
_CREDENTIALS = re.compile(r"(?<=://)[^\s,]*@")


def is_secret(property_name: str) -> bool:
    """Return whether the value of a property must never be printed."""
    return _SECRET_PROPERTY.search(property_name) is not None


def mask_property(name: str, value: object) -> object:
    """Return the value of a property as it may be printed."""
    if is_secret(name):
        return "***"
    return _CREDENTIALS.sub("***@", value) if isinstance(value, str) else value


def code_faults(kafka: object) -> list[str]:
    """Return the faults of properties by which a configuration file would have librdkafka run code.

    The environment may set them: whoever starts the process sets it, and a file may come from elsewhere.
    """
    return [
        f"kafka.{name}: would make librdkafka run code, so no file may set it; if it is yours, set "
        f"DRIFTGAUGE_KAFKA__{name.upper().replace('.', '_')} in the environment"
        for name in sorted(_CODE_PROPERTIES.intersection(kafka if isinstance(kafka, dict) else ()))
    ]


def _kafka_faults(kafka: Mapping[str, object]) -> list[str]:
    faults = [
        *(f"{name} is missing" for name in _REQUIRED_PROPERTIES if not kafka.get(name)),
        *(
            f"{name} is set by driftgauge itself; leave it out"
            for name in sorted(_OWNED_PROPERTIES & set(kafka))
        ),
    ]
    if "@" in str(kafka.get(_TOKEN_ADDRESS, "")):
        # librdkafka logs this address.
        faults.append(
            f"{_TOKEN_ADDRESS} must hold no user and password; set sasl.oauthbearer.client.id and "
            "sasl.oauthbearer.client.secret"
        )
    return faults


def _registry_faults(properties: Mapping[str, object]) -> list[str]:
    url = str(properties.get("url", "https://"))
    if "@" in url:
        return ["url must hold no user and password; set basic.auth.user.info"]
    # The client would quote what is no address, and that may be a secret in the wrong place.
    are_addresses = all(each.strip().startswith(("http://", "https://")) for each in url.split(","))
    return [] if are_addresses else ["url must start with http:// or https:// (several: with commas between)"]


def _refuse(find_faults: Callable[[Mapping[str, object]], list[str]]) -> BeforeValidator:
    """Return a validator that quotes no value, which may be a secret."""

    def validate(properties: Any) -> Any:
        if isinstance(properties, dict):
            faults = find_faults(properties) + [
                f"{name} must be text, a number, true or false"
                for name, value in properties.items()
                if not isinstance(value, str | int | float)
            ]
            if faults:
                raise ValueError("; ".join(faults))
        return properties

    return BeforeValidator(validate)


def _mask(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: mask_property(name, value) for name, value in properties.items()}


_Properties = Annotated[dict[str, str | int | float | bool], PlainSerializer(_mask)]
KafkaProperties = Annotated[_Properties, _refuse(_kafka_faults)]
RegistryProperties = Annotated[_Properties, _refuse(_registry_faults)]
