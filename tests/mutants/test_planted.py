"""Planted faults and later versions: each fits the source, and a process imports the service with it."""

import subprocess
import sys

import pytest

from tests.mutants.planted import LATER_VERSIONS, PLANTED, Edit, edited
from tests.mutants.service import SERVICE


@pytest.mark.parametrize(("name", "edits"), [*PLANTED.items(), *LATER_VERSIONS.items()])
def test_edits_change_source(name, edits):
    assert len(edited(name)) == len({edit.file for edit in edits})
    assert all(edit.old != edit.new for edit in edits)


def test_edit_needs_its_text_once():
    with pytest.raises(AssertionError, match="2 times"):
        Edit("a.py", "x", "y").apply("x = x")


def test_service_is_imported_with_fault():
    program = (
        "from tests.mutants.planted import plant; plant('progress_not_last');"
        "from driftgauge.engine import service; print(service._PART_BYTES)"
    )
    root = SERVICE.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env={"PYTHONPATH": f"{root}/service:{root}"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "1000\n"
