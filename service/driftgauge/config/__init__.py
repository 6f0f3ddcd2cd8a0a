"""The configuration: one YAML file, overridden by the environment, validated as a whole."""

from driftgauge.config.environment import ENV_PREFIX
from driftgauge.config.loading import load_settings
from driftgauge.config.properties import is_secret
from driftgauge.config.settings import HttpSettings, Right, Settings, TopicSettings
from driftgauge.config.stream import BaselineSettings, StreamSettings

__all__ = [
    "ENV_PREFIX",
    "BaselineSettings",
    "HttpSettings",
    "Right",
    "Settings",
    "StreamSettings",
    "TopicSettings",
    "is_secret",
    "load_settings",
]
