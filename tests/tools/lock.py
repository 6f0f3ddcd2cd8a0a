"""Check that the locks cover pyproject.toml's requirements, agree, have hashes and name no index."""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAIN = "requirements.lock"
IMAGE = "deploy/docker/requirements.lock"
BUILD = "deploy/docker/build.lock"
# The extras that the image has.
IMAGE_EXTRAS = ("registry",)


def pins(lock: str) -> set[tuple[str, str]]:
    """Return the names and versions in a lock; a name may have several versions."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE)
    return {(canonicalize_name(name), version) for name, version in found}


def names(requirements: Iterable[str]) -> set[str]:
    """Return the names of requirements."""
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def problems(wanted: Iterable[str], lock: str) -> list[str]:
    """Return the faults of a lock's text, given its requirements."""
    entries = re.findall(r"^[A-Za-z0-9._-]+==.*(?:\n    .*)*", lock, re.MULTILINE)
    found = [f"{entry.split()[0]} has no hash" for entry in entries if "--hash=sha256:" not in entry]
    for requirement in map(Requirement, wanted):
        versions = [version for name, version in pins(lock) if name == canonicalize_name(requirement.name)]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement} is not satisfied by the lock ({', '.join(versions) or 'nothing'})")
    if re.search(r"://|--(?:index-url|extra-index-url|find-links) ", re.sub(r"(?m)^#.*$", "", lock)):
        found.append("it names a download address")
    return found


def disagreements(lock: str, main: str, unwanted: Iterable[str]) -> list[str]:
    """Return the pins of an image's lock that the main lock lacks, or that are not for the image."""
    found = [f"{name}=={version} is not in {MAIN}" for name, version in sorted(pins(lock) - pins(main))]
    names = {name for name, _ in pins(lock)}
    return [*found, *(f"{name} is not for the image" for name in sorted(names & set(unwanted)))]


def main() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, build = document["project"], document["build-system"]["requires"]
    dependencies = project["dependencies"]
    optional = project["optional-dependencies"]
    extras = [wanted for extra in optional.values() for wanted in extra]
    image = [*dependencies, *(wanted for extra in IMAGE_EXTRAS for wanted in optional[extra])]
    unwanted = names(extras) - names(image)
    locks = {path: (ROOT / path).read_text() for path in (MAIN, IMAGE, BUILD)}
    found = {
        MAIN: problems([*dependencies, *extras], locks[MAIN]),
        IMAGE: problems(image, locks[IMAGE]) + disagreements(locks[IMAGE], locks[MAIN], unwanted),
        BUILD: problems(build, locks[BUILD]) + disagreements(locks[BUILD], locks[MAIN], ()),
    }
    lines = [f"\n  - {path}: {problem}" for path, listed in found.items() for problem in listed]
    if lines:
        sys.exit("the locks are out of date; run make lock:" + "".join(lines))


if __name__ == "__main__":
    main()
