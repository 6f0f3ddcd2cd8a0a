"""YAML files whose values may be secrets: no message quotes one."""

from pathlib import Path
from typing import Any

import yaml

from driftgauge.errors import ConfigError
from driftgauge.files import open_regular

__all__ = ["load_yaml"]


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
