"""The cluster's address and credentials, for the client that can end transactions of others."""

from collections.abc import Mapping

from driftgauge.config import is_secret
from driftgauge.errors import ConfigError
from driftgauge.kafka.client import KafkaProperties

__all__ = ["connection"]

# As librdkafka calls it, and as kafka-python does.
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
# Without one of these there may be no way in, or another than was meant.
_WAYS_IN = ("ssl.", "sasl.", "enable.ssl", "https.", "socket.")
_WITHOUT_EFFECT = ("socket.timeout.ms", "socket.keepalive.enable", "socket.nagle.disable")


def connection(properties: KafkaProperties) -> dict[str, object]:
    """Return the settings of kafka-python for librdkafka's properties.

    Raises:
        ConfigError: A property about connecting has no counterpart.
    """
    settings: dict[str, object] = {"client_id": "driftgauge"}
    problems = []
    for name, value in properties.items():
        if name in _NAMES:
            settings[_NAMES[name]] = value
        elif name == "ssl.endpoint.identification.algorithm":
            settings["ssl_check_hostname"] = value != "none"
        elif name.startswith(_WAYS_IN) and name not in _WITHOUT_EFFECT:
            problems.append(f"kafka.{name}{'' if is_secret(name) else f' = {value}'}")
    if problems:
        message = (
            "this command reaches Kafka through kafka-python, which does not take these properties; "
            "give it a configuration that connects without them:"
        )
        raise ConfigError(message, problems)
    protocol = str(settings.get("security_protocol", "PLAINTEXT"))
    settings["security_protocol"] = protocol.upper()
    settings["bootstrap_servers"] = str(settings["bootstrap_servers"]).split(",")
    return settings
