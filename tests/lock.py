"""Check that the lock covers what pyproject.toml asks for, has hashes and names no index."""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def problems(pyproject: str, lock: str) -> list[str]:
    """Return what is wrong with the lock's text, given the project file's."""
    project = tomllib.loads(pyproject)["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    pinned: dict[str, list[str]] = {}
    found = []
    for name, version, rest in re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(.*(?:\n    .*)*)", lock, re.MULTILINE
    ):
        pinned.setdefault(canonicalize_name(name), []).append(version)
        if "--hash=sha256:" not in rest:
            found.append(f"{name}=={version} has no hash")
    for requirement in map(Requirement, wanted):
        versions = pinned.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement} is not what is locked ({', '.join(versions) or 'nothing'})")
    if re.search(r"://|--(?:index-url|extra-index-url|find-links) ", re.sub(r"(?m)^#.*$", "", lock)):
        found.append("it names an address to download from")
    return found


def main() -> None:
    found = problems((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text())
    if found:
        sys.exit("requirements.lock is out of date; run make lock:" + "".join(f"\n  - {p}" for p in found))


if __name__ == "__main__":
    main()
