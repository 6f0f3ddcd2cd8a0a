"""The demo's command line as a user meets it: its output and its exit status."""

import sys

import pytest
from click.testing import CliRunner
from deploy.demo.__main__ import demo, main

from tests.deploy.dockerfile import ROOT
from tests.processes import run_command


@pytest.mark.parametrize("path", [[], ["prepare"], ["publish"]], ids=" ".join)
def test_command_help_starts_with_summary(path):
    result = CliRunner().invoke(demo, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    summary = result.output.split("\n\n")[1].strip()
    assert summary.split()[0][0].isupper()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["prepare"], "Missing option '--out'"),
        (["--keep", "prepare", "--out", "."], "--keep before prepare has no effect; remove it"),
        (["--out", ".", "publish"], "--out before publish has no effect; remove it"),
        (["prepare", "--out", "absent"], "demo: absent/network.safetensors: cannot write"),
        (["publish", "absent", "--config", "absent.yaml"], "demo: absent.yaml cannot be read"),
    ],
)
def test_user_error_prints_one_message_and_exits_with_2(arguments, part, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert part in printed.err
    assert printed.out == ""


def test_uncreatable_folder_is_reported_with_remedy(tmp_path):
    (tmp_path / "file").touch()
    done = run_command(sys.executable, "-m", "deploy.demo", "--out", tmp_path / "file" / "out", cwd=ROOT)
    assert done.returncode == 2
    assert "cannot create the folder: Not a directory; name another with --out" in done.stderr
    assert "Traceback" not in done.stderr
