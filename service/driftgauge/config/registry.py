"""Rules for the properties of the schema registry's client: required, secret."""

import re
from collections.abc import Mapping

from driftgauge.config.properties import is_secret

__all__ = ["mask_registry_property", "registry_faults"]

_CREDENTIALS_PROPERTY = "basic.auth.user.info"
# The credentials within a proxy's address; a password may hold any character.
_CREDENTIALS = re.compile(r"(?<=://)[^\s,]*@")
_ADDRESS = re.compile(r"https?://[^\s,]+")


def mask_registry_property(name: str, value: object) -> object:
    """Return the value of a property as it may be printed."""
    if name == _CREDENTIALS_PROPERTY or is_secret(name):
        return "***"
    return _CREDENTIALS.sub("***@", value) if isinstance(value, str) else value


def registry_faults(properties: Mapping[str, object]) -> list[str]:
    """Return the faults of the properties; no fault quotes a value, which may be a secret."""
    faults = []
    url = properties.get("url")
    if not url:
        faults.append("url is missing")
    elif not isinstance(url, str) or not all(_ADDRESS.fullmatch(each.strip()) for each in url.split(",")):
        faults.append("url must start with http:// or https:// (several addresses: with commas between them)")
    elif "@" in url:
        faults.append("url must hold no user and password; set basic.auth.user.info")
    faults += [
        f"{name} must be text, a number, true or false"
        for name, value in properties.items()
        if not isinstance(value, str | int | float)
    ]
    return faults
