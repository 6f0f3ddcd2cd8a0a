"""Rules for librdkafka properties in the configuration: required, owned by driftgauge, secret."""

import re
from collections.abc import Mapping

__all__ = ["is_secret", "property_faults"]

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
_REQUIRED_PROPERTIES = ("bootstrap.servers", "group.id")
_SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|token|\.pem$|oauthbearer\.config|jaas", re.IGNORECASE
)


def is_secret(property_name: str) -> bool:
    """Return whether the value of a librdkafka property must never be printed."""
    return _SECRET_PROPERTY.search(property_name) is not None


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
