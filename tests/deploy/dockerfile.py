"""The Dockerfile's instructions."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy/docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Instruction:
    """One instruction; `words` are its arguments, in shell or exec form."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        _, opened, rest = self.text.partition("[")
        return [str(word) for word in json.loads(opened + rest)] if opened else self.text.split()


def stages() -> dict[str, list[Instruction]]:
    """The instructions of each stage, by the stage's name; the nameless last stage is `default`."""
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if line and not line.startswith("#")).replace("\\\n", " ")
    _, *parts = re.split(r"^FROM ", text, flags=re.MULTILINE)
    found = {}
    for part in parts:
        first, *rest = part.strip().splitlines()
        split = (line.partition(" ") for line in rest)
        found[first.partition(" AS ")[2] or "default"] = [
            Instruction("FROM", first),
            *(Instruction(name, arguments.strip()) for name, _, arguments in split),
        ]
    return found


def only(name: str, stage: str = "service") -> Instruction:
    """The one instruction of this name in a stage."""
    (found,) = (step for step in stages()[stage] if step.name == name)
    return found
