"""What pydantic finds in a section, in words."""

from collections.abc import Sequence
from typing import Any, get_args

from driftgauge.config.fields import Section
from driftgauge.config.settings import Settings
from driftgauge.nearest import suggest

__all__ = ["describe_problem"]

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
