"""Settings from the environment: variables, and a directory of secrets."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource, SecretsSettingsSource

from driftgauge.config.fields import Section
from driftgauge.config.settings import Settings

__all__ = ["ENV_PREFIX", "TextSource", "read_secrets"]

ENV_PREFIX = "DRIFTGAUGE_"
_SECRETS_DIR = f"{ENV_PREFIX}SECRETS_DIR"

# The settings that are mappings: a name can set one of their keys.
_SECTIONS = frozenset(
    {"kafka", *(name for name, field in Settings.model_fields.items() if isinstance(field.default, Section))}
)


class TextSource(EnvSettingsSource):
    """The settings that named texts give: `HTTP__PORT`, with or without the prefix, sets `http.port`.

    Below `kafka` an underscore stands for a dot: `KAFKA__SASL_PASSWORD` sets `sasl.password`.

    Attributes:
        problems: One for each name with a step that leads to no key.
    """

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        super().__init__(Settings)
        self.problems: list[str] = []
        self.env_vars: dict[str, str | None] = {}
        for name, text in sorted(texts.items()):
            section, step, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
            if step and (section not in _SECTIONS or "__" in key):
                self.problems.append(f"{name}: names no setting; a list is set as a whole, in JSON")
                continue
            self.env_vars[section + step + (key.replace("_", ".") if section == "kafka" else key)] = text

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the list or mapping that a text holds in JSON; other text as it is, for validation."""
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, list | dict) else value


def read_secrets(environ: Mapping[str, str]) -> tuple[Mapping[str, str | None], list[str]]:
    """Return the texts of the files in the directory of secrets, by file name, and the problems met."""
    directory = environ.get(_SECRETS_DIR) or None
    try:
        files = SecretsSettingsSource(Settings, directory)
        source = NestedSecretsSettingsSource(files, secrets_dir_missing="error", secrets_prefix="")
    except (OSError, ValueError) as error:
        # The error's text is left out: it may quote a secret.
        problem = f"{_SECRETS_DIR}: {directory} is not a directory of readable files in UTF-8"
        return {}, [f"{problem} ({type(error).__name__})"]
    return source.env_vars, []
