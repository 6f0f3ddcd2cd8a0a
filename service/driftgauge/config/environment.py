"""The environment over the configuration file: every value can be set by a variable.

`DRIFTGAUGE_HTTP__PORT=9465` sets `http.port`; `__` steps into a mapping or, with a number, into a
list (`DRIFTGAUGE_STREAMS__0__BASELINE`). Values are read as YAML. Below `kafka`, a name is written
in capitals with underscores for its dots, `DRIFTGAUGE_KAFKA__SASL_PASSWORD` is `sasl.password`. There,
and for `replica`, the value is taken as it stands: in YAML a password may be a number, a comment or a
reference, and two names may be one number.
"""

from collections.abc import Collection, Mapping
from typing import Any

import yaml

__all__ = ["ENV_PREFIX", "override"]

ENV_PREFIX = "DRIFTGAUGE_"


def override(tree: dict[str, Any], environ: Mapping[str, str], sections: Collection[str]) -> list[str]:
    """Lay the environment over a configuration's tree of these sections; return the problems met."""
    problems = []
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        steps = variable.removeprefix(ENV_PREFIX).lower().split("__")
        if steps[0] not in sections:
            # One without a step, such as DRIFTGAUGE_TEST_BOOTSTRAP, may be meant for something else.
            if len(steps) > 1:
                problems.append(f"{variable}: there is no {steps[0]} in the configuration")
            continue
        if steps[0] == "kafka":
            steps = [steps[0], *(step.replace("_", ".") for step in steps[1:])]
        try:
            verbatim = steps == ["replica"] or (len(steps) > 1 and steps[0] == "kafka")
            value = environ[variable] if verbatim else yaml.safe_load(environ[variable])
            _set(tree, steps, value)
        except (yaml.YAMLError, LookupError, ValueError, TypeError, AttributeError) as error:
            # The value is not quoted: it may be a secret.
            problems.append(f"{variable}: does not fit the configuration ({type(error).__name__})")
    return problems


def _set(tree: Any, steps: list[str], value: object) -> None:
    *parents, last = steps
    for parent in parents:
        tree = tree[int(parent)] if isinstance(tree, list) else tree.setdefault(parent, {})
    if isinstance(tree, list):
        tree[int(last)] = value
    else:
        tree[last] = value
