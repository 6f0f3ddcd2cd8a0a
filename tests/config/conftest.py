"""Loading a configuration in a folder of the test."""

import pytest

from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from tests.config.builders import MINIMAL


@pytest.fixture
def load(tmp_path):
    """Write a configuration and load it under an environment."""

    def _load(text=MINIMAL, **environ):
        path = tmp_path / "driftgauge.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ)

    return _load


@pytest.fixture
def problems(load):
    """Load a configuration that cannot be used; return the message."""

    def _problems(text=MINIMAL, **environ):
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return str(caught.value)

    return _problems
