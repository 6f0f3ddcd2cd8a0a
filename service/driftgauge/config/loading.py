"""From the configuration's file and the environment to checked settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from driftgauge.config.environment import override
from driftgauge.config.settings import Settings
from driftgauge.errors import ConfigError

__all__ = ["load_settings"]


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file, lay the environment over it, check all of it.

    Relative baseline paths are taken from the configuration file's folder.

    Raises:
        ConfigError: Lists every problem found, each with the key it stands at; values are not
            quoted from `kafka`, so no secret is printed.
    """
    tree, problems = _read_yaml(path)
    problems += override(tree, environ, Settings.model_fields)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors(include_url=False, include_input=False)]
    if problems:
        message = f"{path} cannot be used:"
        raise ConfigError(message, problems)
    streams = tuple(stream.below(path.parent) for stream in settings.streams)
    return settings.model_copy(update={"streams": streams})


class _Loader(yaml.SafeLoader):
    """Notes the keys that stand twice, of which YAML keeps the last without a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        line = node.start_mark.line + 1
        self.problems += [
            f"{name}: stands more than once in the mapping that begins on line {line}"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the file's tree and the problems met."""
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
        # Neither the parser's words nor its cause: both quote the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        where = "a control character" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        message = f"{path} is not YAML: {where}; text that holds one of : # & * ! % needs quotes"
        raise ConfigError(message) from None
    except ValueError:
        # YAML takes it for one by its form. Not quoted either.
        message = f"{path} holds a date or a number that cannot be; mend it, or put it in quotes"
        raise ConfigError(message) from None
    if not isinstance(tree, dict):
        message = f"{path} does not hold a YAML mapping; it needs at least the keys kafka and streams"
        raise ConfigError(message)
    return tree, loader.problems


# pydantic's words for these are Python's, not YAML's.
_KINDS = {"tuple_type": "must be a list", "model_type": "must be a mapping", "dict_type": "must be a mapping"}


def _describe(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {_KINDS.get(problem['type'], problem['msg'].removeprefix('Value error, '))}"
