"""The project's version in the files of deploy/ and the documents that name its images or its documents."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["documents"]

_ROOT: Final = Path(__file__).parents[2]
_FILES: Final = (
    "deploy/docker/Dockerfile",
    "deploy/docker/compose.yaml",
    "deploy/kubernetes/chart/Chart.yaml",
    "deploy/kubernetes/driftgauge.yaml",
    "service/docs/how-to/kubernetes.md",
    *(
        f"deploy/prometheus/tests/{name}.test.yml"
        for name in ("counting", "days", "drift", "replicas", "windows")
    ),
)
_NAMED: Final = re.compile(
    r"(?P<before>\bdriftgauge(?:-demo)?:|driftgauge/blob/v|^version: |^appVersion: |"
    r"helm\.sh/chart: driftgauge-|app\.kubernetes\.io/version: \"|image\.version=\")\d[\w.]*\b",
    re.MULTILINE,
)


def documents() -> Mapping[str, str]:
    """Return the text of each file that names the version, with the version of pyproject.toml."""
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return {name: _NAMED.sub(rf"\g<before>{version}", (_ROOT / name).read_text("utf-8")) for name in _FILES}
