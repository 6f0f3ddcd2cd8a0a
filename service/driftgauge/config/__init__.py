"""The configuration: one YAML file, overridden by the environment, validated as a whole."""

from driftgauge.config.loading import ENV_PREFIX, load_settings, read_kafka_secrets
from driftgauge.config.properties import is_secret
from driftgauge.config.settings import HttpSettings, LogSettings, Right, Settings, TopicSettings
from driftgauge.config.stream import BaselineSettings, StreamLabels, StreamSettings

__all__ = [
    "ENV_PREFIX",
    "BaselineSettings",
    "HttpSettings",
    "LogSettings",
    "Right",
    "Settings",
    "StreamLabels",
    "StreamSettings",
    "TopicSettings",
    "is_secret",
    "load_settings",
    "read_kafka_secrets",
]
