"""The connection settings of kafka-python, translated from librdkafka's properties."""

from collections.abc import Mapping

from driftgauge.config import is_secret
from driftgauge.errors import ConfigError
from driftgauge.kafka.client import KafkaProperties

__all__ = ["connection"]

# librdkafka's name: kafka-python's name.
_NAMES: Mapping[str, str] = {
    "bootstrap.servers": "bootstrap_servers",
    "metadata.broker.list": "bootstrap_servers",
    "client.id": "client_id",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.crl.location": "ssl_crlfile",
}
# A property of these groups must not be dropped: the connection may fail or be less secure without it.
_CONNECTING = ("ssl.", "sasl.", "enable.ssl", "https.", "socket.")
_WITHOUT_EFFECT = ("socket.timeout.ms", "socket.keepalive.enable", "socket.nagle.disable")


def connection(properties: KafkaProperties) -> dict[str, object]:
    """Return the settings of kafka-python for librdkafka's properties.

    Raises:
        ConfigError: A property about connecting has no counterpart in kafka-python.
    """
    settings: dict[str, object] = {"client_id": "driftgauge"}
    problems = []
    for name, value in properties.items():
        if name in _NAMES:
            settings[_NAMES[name]] = value
        elif name == "ssl.endpoint.identification.algorithm":
            settings["ssl_check_hostname"] = value != "none"
        elif name.startswith(_CONNECTING) and name not in _WITHOUT_EFFECT:
            problems.append(f"kafka.{name}{'' if is_secret(name) else f' = {value}'}")
    if problems:
        message = (
            "this command connects through kafka-python, which does not support these properties; "
            "use a configuration that connects without them:"
        )
        raise ConfigError(message, problems)
    protocol = str(settings.get("security_protocol", "PLAINTEXT"))
    settings["security_protocol"] = protocol.upper()
    settings["bootstrap_servers"] = str(settings["bootstrap_servers"]).split(",")
    return settings
