"""Shell completion, as the documentation sets it up."""

import os
import sys
from pathlib import Path

import pytest

from tests.processes import run_command, run_python

# The installed command stands next to the interpreter.
ENVIRON = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def complete(*words):
    """Return what the program offers for the last word, as lines of type and value."""
    environ = {
        **ENVIRON,
        "_DRIFTGAUGE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["driftgauge", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = run_command("driftgauge", env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["p"], ["plain,page", "plain,plan", "plain,publish"]),
        (["--v"], ["plain,--version"]),
        (["kafka", ""], ["plain,reshard", "plain,transactions"]),
        (["kafka", "transactions", "re"], ["plain,resolve"]),
        (["serve", "--role", ""], ["plain,count", "plain,windows", "plain,all"]),
        (["baseline", "fit", "--metric", "c"], ["plain,cosine"]),
        (["baseline", "fit", "--vector-dtype", "f"], ["plain,f32", "plain,f16", "plain,f64"]),
        (["baseline", "fit", "--no", ""], ["file,"]),
        (["plan", "--base"], ["plain,--baseline", "plain,--baseline-count"]),
        (["replay", "eve"], ["file,eve"]),
        (["serve", "--config", "d"], ["file,d"]),
        (["baseline", "compare", "a.safetensors", "b"], ["file,b"]),
    ],
    ids=str,
)
def test_commands_options_choices_and_files_are_offered(words, offered):
    assert complete(*words) == offered


def test_first_word_loads_no_command():
    program = (
        "import sys; from click import Context; from driftgauge.cli import cli; "
        "print(len(cli.shell_complete(Context(cli), '')), *sys.modules)"
    )
    number, *modules = run_python(program).stdout.split()
    assert int(number) > 10
    assert not {"numpy", "pydantic"} & set(modules)


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


@pytest.mark.parametrize(("shell", "registers"), [("zsh", "compdef"), ("fish", "complete ")])
def test_other_shells_have_scripts(shell, registers):
    done = run_command("driftgauge", env={**ENVIRON, "_DRIFTGAUGE_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    assert registers in done.stdout
    assert f"_DRIFTGAUGE_COMPLETE={shell}_complete" in done.stdout
