"""The endpoint /version: the version of the running code, and the commit that it is of."""

import subprocess
from importlib.metadata import version
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

__all__ = ["read_commit", "version_route"]

_PACKAGE = Path(__file__).parents[1]
_DESCRIBE = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
_GIT_S = 5.0


def version_route() -> BaseRoute:
    """Return the route that says which code runs, as of now."""
    body = {"version": version("driftgauge"), "commit": read_commit(_PACKAGE)}

    async def answer(_: Request) -> Response:
        return JSONResponse(body)

    return Route("/version", answer)


def read_commit(package: Path) -> str | None:
    """Return the commit that a package's files are of; None where nothing says it.

    The image's build writes it into a file. In a clone git says it, with `-dirty` where files are changed.
    """
    try:
        return (package / "commit.txt").read_text("utf-8").strip()
    except OSError:
        # An environment may lie in another project's clone, so only the place of this one's counts.
        clone = package.parents[1]
    if not (clone / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603 - constant words
            ["git", "-C", clone, *_DESCRIBE],  # noqa: S607
            capture_output=True,
            check=True,
            text=True,
            timeout=_GIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
