"""The Dockerfile's instructions, and a reconstruction of the image's layers without an engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy/docker"
LOCK = DOCKER / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Instruction:
    """One instruction; `options` are its flags, `words` its other arguments, in shell or exec form."""

    name: str
    text: str

    @property
    def options(self) -> dict[str, str]:
        return dict(re.findall(r"--([a-z-]+)=(\S+)", self.text.partition("[")[0]))

    @property
    def is_exec_form(self) -> bool:
        return self.text.partition(" CMD ")[2 if self.name == "HEALTHCHECK" else 0].startswith("[")

    @property
    def words(self) -> list[str]:
        _, opened, rest = self.text.partition("[")
        if opened:
            return [str(word) for word in json.loads(opened + rest)]
        return [word for word in self.text.split() if not word.startswith("--")]


def instructions() -> list[list[Instruction]]:
    """The instructions of each stage; the first list precedes all stages."""
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    stages: list[list[Instruction]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, rest.strip()))
    return stages


def stage(name: str) -> list[Instruction]:
    """The instructions of the stage with this name."""
    (found,) = (steps for steps in instructions()[1:] if steps[0].text.endswith(f" AS {name}"))
    return found


def locked() -> list[str]:
    """The distribution names in the image's lock for this platform, without duplicates."""
    lines = re.findall(r"(?m)^([a-z0-9-]+==[^\\\n]+)", LOCK.read_text())
    requirements = [Requirement(line) for line in lines]
    return list(
        dict.fromkeys(each.name for each in requirements if each.marker is None or each.marker.evaluate())
    )


def context() -> list[Path]:
    """The files of the build context, relative to the root of the repository."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    first, *patterns = [line for line in lines if not line.startswith("#")]
    assert first == "*"
    let_in = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    ignored = [pattern.removeprefix("**/") for pattern in patterns if not pattern.startswith("!")]
    found = []
    for pattern in let_in:
        for path in ROOT.glob(pattern):
            files = path.rglob("*") if path.is_dir() else [path]
            found += [file.relative_to(ROOT) for file in files if file.is_file()]
    return [
        file
        for file in found
        if not any(fnmatch(part, pattern) for part in file.parts for pattern in ignored)
    ]


def copy_context(name: str, folder: Path) -> None:
    """Copy the files of the context that a stage copies into a folder, its working directory."""
    sent = context()
    for copy in (step for step in stage(name) if step.name == "COPY"):
        *sources, target = copy.words
        for source in map(Path, sources):
            for file in (file for file in sent if file == source or source in file.parents):
                place = folder / target / (file.relative_to(source) if file != source else file.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, place)


def build_wheel(folder: Path) -> Path:
    """Copy into a folder what the build stage copies, and run its own command for the wheel there."""
    copy_context("build", folder)
    (build,) = (step.words for step in stage("build") if step.name == "RUN" and "wheel" in step.words)
    subprocess.run([sys.executable, *build[1:]], cwd=folder, check=True, capture_output=True, timeout=300)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def lay_out(wheel: Path, folder: Path) -> None:
    """Fill a folder with the content of the image's site-packages: locked distributions and the wheel."""
    for name in locked():
        found = distribution(name)
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}
        }:
            (folder / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
