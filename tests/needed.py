"""Requirements that not every machine meets: a test that lacks one skips, or fails in CI."""

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["required", "skip_or_fail"]


def required(program: str, package: str) -> str:
    """Return the path of a program of a Debian package; skip or fail without it."""
    found = shutil.which(program)
    if found is None:
        skip_or_fail(f"there is no {program} on the PATH: install it with `apt-get install -y {package}`")
    return found


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test with a reason that names the remedy; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
