"""Loading of validated settings from the configuration file, variables, and a directory of secrets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)

from driftgauge.config.fields import Section
from driftgauge.config.problems import describe_problem
from driftgauge.config.properties import code_faults
from driftgauge.config.settings import ConnectedSettings, Settings
from driftgauge.config.yaml_file import load_yaml
from driftgauge.errors import ConfigError, refuse_problems
from driftgauge.nearest import suggest

__all__ = ["ENV_PREFIX", "load_settings", "read_kafka_secrets"]

ENV_PREFIX = "DRIFTGAUGE_"
_SECRETS_DIR = f"{ENV_PREFIX}SECRETS_DIR"

# Kubernetes gives every pod such variables of each Service of its namespace, also of one named driftgauge.
_SERVICE_LINK = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*|(\w+_)?PORT=(tcp|udp|sctp)://.*"
)

# The properties of clients, whose names have dots.
_PROPERTIES = frozenset({"kafka", "schema_registry"})
# A variable can set one key of these settings, which are mappings.
_SECTIONS = frozenset(
    {
        *_PROPERTIES,
        *(name for name, field in Settings.model_fields.items() if isinstance(field.default, Section)),
    }
)
# Without the prefix, as those of files of secrets may be.
_VARIABLES = [
    "SECRETS_DIR",
    *(name.upper() for name in Settings.model_fields),
    *(
        f"{name}__{key}".upper()
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, Section)
        for key in type(field.default).model_fields
    ),
]


class _TextSource(EnvSettingsSource):
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
            bare = name.removeprefix(ENV_PREFIX)
            section, step, key = bare.lower().partition("__")
            if section not in Settings.model_fields and bare != name:
                if name != _SECRETS_DIR and not _SERVICE_LINK.fullmatch(f"{bare}={text}"):
                    remedy = suggest(bare.upper(), _VARIABLES, "remove it", prefix=ENV_PREFIX)
                    self.problems.append(f"{name}: names no setting; {remedy}")
                continue
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


def load_settings(path: Path, environ: Mapping[str, str], *, connects: bool = True) -> Settings:
    """Return the settings; the environment overrides the secrets directory, which overrides the file.

    Relative paths, of baselines and of the web configuration file, begin at the configuration file's folder.

    Args:
        path: The YAML file.
        environ: The environment.
        connects: Require the section `kafka`, because the caller connects to it.

    Raises:
        ConfigError: Lists every problem of keys, each with its key, and quotes no value of `kafka`, which
            may be a secret.
    """
    tree, problems = _read_yaml(path)
    secrets, unreadable = _read_secrets(environ)
    variables = {name: text for name, text in environ.items() if name.startswith(ENV_PREFIX)}
    texts = [_TextSource(variables), _TextSource(secrets)]
    problems += [*unreadable, *(problem for source in texts for problem in source.problems)]
    # pydantic-settings would silently replace such a section of the file.
    sections = {name.partition("__")[0] for source in texts for name in source.env_vars if "__" in name}
    problems += [
        f"{name}: must be a mapping" for name in sorted(sections) if not isinstance(tree.get(name, {}), dict)
    ]
    try:
        settings = _build(ConnectedSettings if connects else Settings, texts, tree, path)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [describe_problem(problem, Settings) for problem in found]
    refuse_problems(path, problems)
    return settings


def _build(kind: type[Settings], texts: Sequence[_TextSource], tree: dict[str, Any], path: Path) -> Settings:
    settings = kind(_build_sources=((*texts, InitSettingsSource(kind, tree)), {}))
    streams = tuple(stream.below(path.parent) for stream in settings.streams)
    http = settings.http
    if http.web_config is not None:
        http = http.model_copy(update={"web_config": path.parent / http.web_config})
    return settings.model_copy(update={"streams": streams, "http": http})


def _read_secrets(environ: Mapping[str, str]) -> tuple[Mapping[str, str | None], list[str]]:
    """Return the texts of the secrets directory's files, by file name, and the problems found."""
    directory = environ.get(_SECRETS_DIR) or None
    try:
        files = SecretsSettingsSource(Settings, directory)
        source = NestedSecretsSettingsSource(files, secrets_dir_missing="error", secrets_prefix="")
    except (OSError, ValueError):
        # The error's text is left out: it may quote a secret.
        return {}, [f"{_SECRETS_DIR}: {_describe_fault(Path(directory or ''))}"]
    properties = {name.removeprefix("kafka__") for name in _TextSource(source.env_vars).env_vars}
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
    files, _ = _read_secrets(environ)
    section = "kafka__"
    variables = _TextSource({name: text for name, text in environ.items() if name.startswith(ENV_PREFIX)})
    return {
        name.removeprefix(section): text
        for name, text in _TextSource(files).env_vars.items()
        if name.startswith(section) and name not in variables.env_vars and text is not None
    }


def _read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the file's mapping and the problems found."""
    tree, problems = load_yaml(path, "name an existing file with --config")
    if not isinstance(tree, dict):
        message = (
            f"{path} does not hold a YAML mapping; it needs at least the key streams, and kafka to connect"
        )
        raise ConfigError(message)
    # Further checks would make clients of these properties.
    refuse_problems(path, code_faults(tree.get("kafka")))
    # pydantic-settings passes the keys as keyword arguments, which must be text.
    return {str(key): value for key, value in tree.items()}, problems
