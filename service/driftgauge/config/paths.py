"""Paths into decoded values: names with dots, items of lists, JSON within text."""

import re
from dataclasses import dataclass

__all__ = ["NAME", "Choice", "Every", "Json", "Step", "parse_path"]

NAME = r"[^.\[\]=\"\s]+"
"""A name that stands in a path without quotes, as a regular expression."""

_STEP = re.compile(
    rf'(?P<dot>\.)?(?:(?P<name>{NAME})|\[(?P<index>[0-9]+)\]|\[(?P<every>\*)\]|\[(?P<json>json)\]|\["(?P<quoted>[^"]+)"\]'
    rf"|\[(?P<field>{NAME})=(?P<value>[^\]]+)\])"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A step to the first item of a list of which a field has this text as its value."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Json:
    """A step into the JSON value that a text holds."""


@dataclass(frozen=True, slots=True)
class Every:
    """A step to every item of a list, each of which is an event."""


Step = str | int | Choice | Every | Json
"""A step of a path: a field's name, a list's index, a choice, every item, or into JSON within text."""


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path such as `a[0].id`, `b[name=c]["x.y"]`, `data[*].id`, `payload[json].id`.

    Raises:
        ValueError: The text is no path.
    """
    steps: list[Step] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        # A name that is not the first follows a dot, and a bracket never does.
        if found is None or bool(found["dot"]) != (found["name"] is not None and bool(steps)):
            break
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["every"] is not None:
            steps.append(Every())
        elif found["json"] is not None:
            steps.append(Json())
        elif found["field"] is not None:
            steps.append(Choice(found["field"], found["value"]))
        else:
            steps.append(found["name"] or found["quoted"])
        position = found.end()
    if not steps or position < len(text):
        message = (
            f'{text!r} is no path; write names, dots and brackets, such as a.b[0]["x.y"][name=c].d[json]'
        )
        raise ValueError(message)
    return tuple(steps)
