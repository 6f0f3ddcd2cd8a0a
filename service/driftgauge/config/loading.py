"""Loading of validated settings from the configuration file and the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from driftgauge.config.environment import ENV_PREFIX, TextSource, read_secrets
from driftgauge.config.properties import code_faults
from driftgauge.config.settings import ConnectedSettings, Settings
from driftgauge.errors import ConfigError

__all__ = ["load_settings"]


def load_settings(path: Path, environ: Mapping[str, str], *, connects: bool = True) -> Settings:
    """Return the settings; the environment overrides the secrets directory, which overrides the file.

    Relative baseline paths are relative to the configuration file's folder.

    Args:
        path: The YAML file.
        environ: The environment.
        connects: Require the section `kafka`, because the caller connects to it.

    Raises:
        ConfigError: Lists every problem found, each with its key, and quotes no value of `kafka`, which
            may be a secret.
    """
    tree, problems = _read_yaml(path)
    secrets, unreadable = read_secrets(environ)
    variables = {name: text for name, text in environ.items() if name.startswith(ENV_PREFIX)}
    texts = [TextSource(variables), TextSource(secrets)]
    problems += [*unreadable, *(problem for source in texts for problem in source.problems)]
    # pydantic-settings would silently replace such a section of the file.
    sections = {name.partition("__")[0] for source in texts for name in source.env_vars if "__" in name}
    problems += [
        f"{name}: must be a mapping" for name in sorted(sections) if not isinstance(tree.get(name, {}), dict)
    ]
    kind = ConnectedSettings if connects else Settings
    try:
        settings = kind(_build_sources=((*texts, InitSettingsSource(kind, tree)), {}))
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors(include_url=False, include_input=False)]
    if problems:
        message = f"{path} cannot be used; correct:"
        raise ConfigError(message, problems)
    streams = tuple(stream.below(path.parent) for stream in settings.streams)
    return settings.model_copy(update={"streams": streams})


class _Loader(yaml.SafeLoader):
    """A YAML loader that reports duplicate keys; YAML silently keeps the last."""

    def __init__(self, text: str) -> None:
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


def _read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the file's mapping and the problems found."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        tree = loader.get_single_data()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); name an existing file with --config"
        raise ConfigError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); write it as UTF-8"
        raise ConfigError(message) from None
    except yaml.YAMLError as error:
        # The parser's message and cause quote the line, which may hold a secret, so both are left out.
        mark = getattr(error, "problem_mark", None)
        where = "a control character" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        message = f"{path} is not YAML: {where}; text that holds one of : # & * ! % needs quotes"
        raise ConfigError(message) from None
    except ValueError:
        # The value looks like a date or a number, and may be a secret, so the message does not quote it.
        message = f"{path} holds a date or a number that does not exist; correct it, or put it in quotes"
        raise ConfigError(message) from None
    if not isinstance(tree, dict):
        message = (
            f"{path} does not hold a YAML mapping; it needs at least the key streams, and kafka to connect"
        )
        raise ConfigError(message)
    # pydantic-settings passes the keys as keyword arguments, which must be text.
    problems = [*loader.problems, *code_faults(tree.get("kafka"))]
    return {str(key): value for key, value in tree.items()}, problems


# For these problems pydantic's own messages name Python types.
_KINDS = {"tuple_type": "a list", "model_type": "a mapping", "dict_type": "a mapping"}


def _describe(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    if kind := _KINDS.get(problem["type"]):
        return f"{where}: must be {kind} (in the environment: in JSON)"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
