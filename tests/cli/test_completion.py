"""Shell completion, as the documentation sets it up."""

import os
import sys
from pathlib import Path

import pytest

from tests.processes import run_command

# The installed command stands next to the interpreter.
ENVIRON = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "_DRIFTGAUGE_COMPLETE": "bash_complete",
}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("p", ["plain,page", "plain,plan", "plain,publish"]),
        ("events p", ["plain,peek"]),
        ("serve --role ", ["plain,count", "plain,windows", "plain,all"]),
        ("baseline fit --metric c", ["plain,cosine"]),
        ("plan --base", ["plain,--baseline", "plain,--baseline-count"]),
        ("serve --config d", ["file,d"]),
        ("baseline show a.safetensors --against b", ["file,b"]),
    ],
)
def test_commands_options_choices_and_files_are_offered(words, offered):
    number = str(words.count(" ") + 1)
    done = run_command(
        "driftgauge", env={**ENVIRON, "COMP_WORDS": f"driftgauge {words}", "COMP_CWORD": number}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == offered


def test_bash_completes_as_documented():
    script = """
        eval "$(_DRIFTGAUGE_COMPLETE=bash_source driftgauge)"
        complete -p driftgauge
        COMP_WORDS=(driftgauge baseline fit --metric e); COMP_CWORD=4
        _driftgauge_completion driftgauge
        echo "${COMPREPLY[@]}"
    """
    done = run_command("bash", "-c", script, env=ENVIRON)
    assert done.stderr == ""
    registered, offered = done.stdout.splitlines()
    assert registered.endswith("_driftgauge_completion driftgauge")
    assert offered == "euclidean"
