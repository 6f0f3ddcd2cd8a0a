"""The workflows for GitHub, which nothing here can run: their form, and what they trust."""

import re
import sys

from tests.deploy.dockerfile import ROOT
from tests.processes import run_command

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_workflows_match_schema_and_pin_every_action():
    schema = ("--builtin-schema", "vendor.github-workflows")
    done = run_command(sys.executable, "-m", "check_jsonschema", *schema, *WORKFLOWS)
    assert (done.returncode, done.stderr) == (0, "")
    used = [name for path in WORKFLOWS for name in re.findall(r"uses: (?!\./)(.*)", path.read_text())]
    # A tag can move, and the workflow of a release may publish.
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", name)] == []
