"""What a test takes that not every machine has: where it is missing the test skips, and fails in CI."""

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["required", "skip_or_fail"]


def required(program: str, package: str) -> str:
    """Return where a program of a Debian package is."""
    found = shutil.which(program)
    if found is None:
        skip_or_fail(f"there is no {program} on the PATH: install it with `apt-get install -y {package}`")
    return found


def skip_or_fail(reason: str) -> NoReturn:
    """Skip for a reason that a person can act on; in CI, where all is to be there, fail for it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
