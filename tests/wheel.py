"""The wheel and the sdist, built as a release builds them and installed outside the checkout."""

import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

from tests.needed import skip_or_fail
from tests.processes import run_command

__all__ = ["ROOT", "build", "install"]

ROOT = Path(__file__).parents[1]


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the unpacked sdist, without a download; return both files."""
    if find_spec("hatchling") is None:
        skip_or_fail("hatchling, which builds the wheel, is not installed: run `make setup`")
    _hatchling("sdist", ROOT, folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    _hatchling("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def _hatchling(target: str, project: Path, folder: Path) -> None:
    run_command(
        sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=project, check=True
    )


def install(folder: Path) -> dict[str, str]:
    """Build the wheel and install it alone into a folder.

    Returns:
        The variables with which programs find its command, and its package before the checkout's.
    """
    (folder / "built").mkdir()
    _, wheel = build(folder / "built")
    target = folder / "installed"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    run_command(*pip, "--target", target, wheel, check=True)
    return {
        "PATH": f"{target / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(target),
    }
