"""Rules for librdkafka properties in the configuration: required, owned by driftgauge, secret."""

import re
from collections.abc import Mapping

__all__ = ["code_faults", "is_secret", "property_faults"]

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
_SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|token|\.pem$|oauthbearer\.config|jaas", re.IGNORECASE
)


def is_secret(property_name: str) -> bool:
    """Return whether the value of a librdkafka property must never be printed."""
    return _SECRET_PROPERTY.search(property_name) is not None


def code_faults(kafka: object) -> list[str]:
    """Return the faults of properties by which a configuration file would have librdkafka run code.

    The environment may set them: whoever starts the process sets it, and a file may come from elsewhere.
    """
    return [
        f"kafka.{name}: would make librdkafka run code, so no file may set it; if it is yours, set "
        f"DRIFTGAUGE_KAFKA__{name.upper().replace('.', '_')} in the environment"
        for name in sorted(_CODE_PROPERTIES.intersection(kafka if isinstance(kafka, dict) else ()))
    ]


def property_faults(kafka: Mapping[str, object]) -> list[str]:
    """Return the faults of the properties; no fault quotes a value, which may be a secret."""
    faults = [f"{name} is missing" for name in _REQUIRED_PROPERTIES if not kafka.get(name)]
    faults += [
        f"{name} is set by driftgauge itself; leave it out" for name in sorted(_OWNED_PROPERTIES & set(kafka))
    ]
    faults += [
        f"{name} must be text, a number, true or false"
        for name, value in kafka.items()
        if not isinstance(value, str | int | float)
    ]
    return faults
