"""Fixtures that load a configuration."""

import pytest

from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from tests.builders.configs import MINIMAL


@pytest.fixture
def load(tmp_path):
    """A function that writes a configuration and loads it under an environment."""

    def _load(text=MINIMAL, **environ):
        path = tmp_path / "driftgauge.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ)

    return _load


@pytest.fixture
def problems(load):
    """A function that loads an unusable configuration and returns the error message."""

    def _problems(text=MINIMAL, **environ):
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return str(caught.value)

    return _problems
