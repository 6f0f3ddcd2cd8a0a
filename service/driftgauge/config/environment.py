"""Settings from the environment: variables, and a directory of secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource, SecretsSettingsSource

from driftgauge.config.fields import Section
from driftgauge.config.properties import code_faults
from driftgauge.config.settings import Settings

__all__ = ["ENV_PREFIX", "TextSource", "read_kafka_secrets", "read_secrets"]

ENV_PREFIX = "DRIFTGAUGE_"
_SECRETS_DIR = f"{ENV_PREFIX}SECRETS_DIR"

# The properties of clients, whose names have dots.
_PROPERTIES = frozenset({"kafka", "schema_registry"})
# A variable can set one key of these settings, which are mappings.
_SECTIONS = frozenset(
    {
        *_PROPERTIES,
        *(name for name, field in Settings.model_fields.items() if isinstance(field.default, Section)),
    }
)


class TextSource(EnvSettingsSource):
    """Settings from named texts: `HTTP__PORT`, with or without the prefix, sets `http.port`.

    Below `kafka` and `schema_registry` an underscore means a dot: `KAFKA__SASL_PASSWORD` sets
    `sasl.password`.

    Attributes:
        problems: One for each name that leads to no key.
    """

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        super().__init__(Settings)
        self.problems: list[str] = []
        self.env_vars: dict[str, str | None] = {}
        for name, text in sorted(texts.items()):
            section, step, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
            if step and (section not in _SECTIONS or "__" in key):
                self.problems.append(f"{name}: names no setting; set a list as a whole, in JSON")
                continue
            self.env_vars[section + step + (key.replace("_", ".") if section in _PROPERTIES else key)] = text

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the list or mapping of a JSON text; other text unchanged, for validation."""
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, list | dict) else value


def read_secrets(environ: Mapping[str, str]) -> tuple[Mapping[str, str | None], list[str]]:
    """Return the texts of the secrets directory's files, by file name, and the problems found."""
    directory = environ.get(_SECRETS_DIR) or None
    try:
        files = SecretsSettingsSource(Settings, directory)
        source = NestedSecretsSettingsSource(files, secrets_dir_missing="error", secrets_prefix="")
    except (OSError, ValueError):
        # The error's text is left out: it may quote a secret.
        return {}, [f"{_SECRETS_DIR}: {_describe_fault(Path(directory or ''))}"]
    properties = {name.removeprefix("kafka__") for name in TextSource(source.env_vars).env_vars}
    faults = code_faults(dict.fromkeys(properties))
    return ({}, faults) if faults else (source.env_vars, [])


def _describe_fault(directory: Path) -> str:
    if not directory.is_dir():
        return f"{directory} is no directory"
    unreadable = [str(file) for file in sorted(directory.rglob("*")) if file.is_file() and not _is_text(file)]
    return f"{', '.join(unreadable) or directory} cannot be read as UTF-8; keep other files elsewhere"


def _is_text(file: Path) -> bool:
    try:
        file.read_text("utf-8")
    except (OSError, ValueError):
        return False
    return True


def read_kafka_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of Kafka clients that files of the secrets directory set, and no variable."""
    files, _ = read_secrets(environ)
    section = "kafka__"
    variables = TextSource({name: text for name, text in environ.items() if name.startswith(ENV_PREFIX)})
    return {
        name.removeprefix(section): text
        for name, text in TextSource(files).env_vars.items()
        if name.startswith(section) and name not in variables.env_vars and text is not None
    }
