"""The workflows for GitHub and the compose file: their form, and what the workflows trust."""

import re
import sys

import pytest

from tests.deploy.dockerfile import ROOT
from tests.deploy.stack import FILE
from tests.processes import run_command

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize(("schema", "files"), [("compose-spec", [FILE]), ("github-workflows", WORKFLOWS)])
def test_files_match_schema(schema, files):
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    done = run_command(*command)
    assert (done.returncode, done.stderr) == (0, "")


def test_workflows_pin_every_action():
    used = [name for path in WORKFLOWS for name in re.findall(r"uses: (?!\./)(.*)", path.read_text())]
    # A tag can move, and the workflow of a release may publish.
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", name)] == []
