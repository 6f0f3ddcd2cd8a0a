"""Loading of validated settings from the configuration file, variables, and a directory of secrets."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)

from driftgauge.config.fields import Section
from driftgauge.config.properties import code_faults
from driftgauge.config.settings import ConnectedSettings, Settings
from driftgauge.config.stream import StreamSettings
from driftgauge.errors import ConfigError, refuse_problems
from driftgauge.files import open_regular
from driftgauge.nearest import suggest

__all__ = ["ENV_PREFIX", "describe_problem", "load_settings", "load_yaml", "read_kafka_secrets"]

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


class _SoundPart(Settings):
    """The part of a configuration without problems, perhaps without streams."""

    streams: Annotated[tuple[StreamSettings, ...], Field(strict=False)] = ()


def load_settings(
    path: Path,
    environ: Mapping[str, str],
    *,
    connects: bool = True,
    check: Callable[[Settings], object] | None = None,
) -> Settings:
    """Return the settings; the environment overrides the secrets directory, which overrides the file.

    Relative paths, of baselines and of the web configuration file, begin at the configuration file's folder.

    Args:
        path: The YAML file.
        environ: The environment.
        connects: Require the section `kafka`, because the caller connects to it.
        check: Raises ConfigError for further problems. Where there are problems already, those of the part
            without are added.

    Raises:
        ConfigError: Lists every problem found, each with its key, and quotes no value of `kafka`, which
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
    settings: Settings | None = None
    try:
        settings = _build(ConnectedSettings if connects else Settings, texts, tree, path)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [describe_problem(problem, Settings) for problem in found]
        with suppress(ValidationError):
            settings = _build_sound_part(texts, tree, path, [problem["loc"] for problem in found])
    if settings is not None and not problems:
        return settings
    if settings is not None and check is not None:
        try:
            check(settings)
        except ConfigError as error:
            problems += error.problems
    message = f"{path} cannot be used; correct:"
    raise ConfigError(message, problems)


def _build(kind: type[Settings], texts: Sequence[_TextSource], tree: dict[str, Any], path: Path) -> Settings:
    settings = kind(_build_sources=((*texts, InitSettingsSource(kind, tree)), {}))
    streams = tuple(stream.below(path.parent) for stream in settings.streams)
    http = settings.http
    if http.web_config is not None:
        http = http.model_copy(update={"web_config": path.parent / http.web_config})
    return settings.model_copy(update={"streams": streams, "http": http})


def _build_sound_part(
    texts: Sequence[_TextSource], tree: dict[str, Any], path: Path, wrong: Sequence[tuple[int | str, ...]]
) -> Settings:
    """Return the settings without the sections, and the streams, at these keys."""
    sections = {loc[0] for loc in wrong}
    if {"topics", "schema_registry"} & sections:
        # Inputs need both.
        sections.add("inputs")
    for source in texts:
        source.env_vars = {
            name: text for name, text in source.env_vars.items() if name.partition("__")[0] not in sections
        }
    sound = {name: value for name, value in tree.items() if name not in sections}
    if isinstance(listed := tree.get("streams"), list) and ("streams",) not in wrong:
        sound["streams"] = [
            each for index, each in enumerate(listed) if ("streams", index) not in {loc[:2] for loc in wrong}
        ]
    return _build(_SoundPart, texts, sound, path)


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


class _Loader(yaml.SafeLoader):
    """A YAML loader that reports duplicate keys; YAML silently keeps the last."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        line = node.start_mark.line + 1
        self.problems += [
            f"{name}: occurs more than once in the mapping that starts on line {line}; keep one"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, remedy: str) -> tuple[object, list[str]]:
    """Return what a file holds, and its duplicate keys as problems; no message quotes a value.

    Raises:
        ConfigError: The file cannot be read, for which the message has this remedy, or is not YAML.
    """
    try:
        with open_regular(path) as file:
            loader = _Loader(file.read())
        tree = loader.get_single_data()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); {remedy}"
        raise ConfigError(message) from error
    except yaml.YAMLError as error:
        # The parser's message and cause quote the line, which may hold a secret, so both are left out.
        mark = getattr(error, "problem_mark", None)
        where = (
            "a control character, or no UTF-8"
            if mark is None
            else f"line {mark.line + 1}, column {mark.column + 1}"
        )
        message = f"{path} is not YAML: {where}; text that holds one of : # & * ! % needs quotes"
        raise ConfigError(message) from None
    except ValueError:
        # The value looks like a date or a number, and may be a secret, so the message does not quote it.
        message = f"{path} holds a date or a number that does not exist; correct it, or put it in quotes"
        raise ConfigError(message) from None
    return tree, loader.problems


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


# For these problems pydantic's own messages name Python types.
_KINDS = {"tuple_type": "a list", "model_type": "a mapping", "dict_type": "a mapping"}


def describe_problem(problem: Any, root: type[Section]) -> str:
    """Return one problem that pydantic found in a section, with its key and without its value."""
    text = problem["msg"].removeprefix("Value error, ")
    if kind := _KINDS.get(problem["type"]):
        text = f"must be {kind}{' (in the environment: in JSON)' if issubclass(root, Settings) else ''}"
    if problem["type"] == "extra_forbidden":
        text = f"no such key; {_suggest(problem['loc'], root)}"
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), text)))


def _suggest(path: Sequence[int | str], root: type[Section]) -> str:
    """Return what to write in place of an unknown key."""
    section = root
    # Indices, topics and other keys that the operator chooses name no field.
    for step in path[:-1]:
        if (field := section.model_fields.get(str(step))) is not None:
            section = _find_section(field.annotation) or section
    known = [field.alias or name for name, field in section.model_fields.items()]
    return suggest(str(path[-1]), [*known, *section.SHORT_FORMS], "remove it")


def _find_section(annotation: object) -> type[Section] | None:
    """Return the section that values of a type are, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_find_section, get_args(annotation))), None)
