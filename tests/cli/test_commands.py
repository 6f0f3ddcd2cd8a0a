"""All commands: their help, what they import, and usage errors."""

import click
import pytest
from click.testing import CliRunner

from driftgauge.cli import cli
from tests.cli.command import run
from tests.processes import run_python


def modules_loaded_by(statement):
    """Return the modules that a new interpreter has loaded after a statement, two levels deep."""
    program = f"{statement}; import sys; print(*sys.modules)"
    paths = [name.split(".") for name in run_python(program).stdout.split()]
    return {".".join(path[:depth]) for path in paths for depth in (1, 2)}


def command_paths(group, path=()):
    """Yield the arguments that name each command and group."""
    yield path
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from command_paths(group.get_command(context, name), (*path, name))


@pytest.mark.parametrize("path", list(command_paths(cli)), ids=" ".join)
def test_command_prints_help(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    summary = result.output.split("\n\n")[1].strip()
    assert summary.split()[0][0].isupper()


@pytest.mark.parametrize("command", ["serve", "page"])
def test_serving_prints_without_rich(config, command):
    """The command runs up to the service itself, whose modules the test above looks at."""
    loaded = modules_loaded_by(
        "import sys; from driftgauge import app, cli; app.serve = app.serve_page = lambda *_: None; "
        f"sys.argv = ['driftgauge', {command!r}, '--config', {str(config)!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "pass"
    )
    assert "driftgauge.cli" in loaded
    assert "rich" not in loaded


def test_command_line_has_exactly_documented_commands():
    assert {" ".join(path) for path in command_paths(cli)} == {
        "", "serve", "page", "replay", "report", "publish", "plan", "backtest", "status", "health",
        "marks", "marks add", "accept-loss",
        "config", "config check", "events", "events peek", "init",
        "dead-letters", "dead-letters list", "dead-letters show", "dead-letters requeue",
        "baseline", "baseline fit", "baseline show",
    }  # fmt: skip
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("driftgauge, version ")


@pytest.mark.parametrize(
    ("statement", "needed", "heavy"),
    [
        (
            "from driftgauge.cli import cli; cli.get_command(None, 'health')",
            {"driftgauge.cli"},
            {"confluent_kafka", "numpy", "pydantic", "rich", "scipy"},
        ),
        (
            "from click import Context; from driftgauge.cli import cli; cli.shell_complete(Context(cli), '')",
            {"driftgauge.cli"},
            {"numpy", "pydantic"},
        ),
        *(
            (
                f"import {module}",
                {"confluent_kafka", "numpy"},
                {"sklearn", "joblib", "pandas", "rich"},
            )
            for module in ("driftgauge.app", "driftgauge.cli.service")
        ),
        (
            "import driftgauge.baseline.artifact, driftgauge.baseline.report",
            {"safetensors"},
            {"sklearn", "scipy.stats"},
        ),
    ],
)
def test_heavy_libraries_are_not_loaded(statement, needed, heavy):
    loaded = modules_loaded_by(statement)
    assert needed <= loaded
    assert not heavy & loaded
    # The statistics need scipy.special; the rest of scipy takes longer to load than the whole service.
    public = {name for name in loaded if name.startswith("scipy.") and not name.startswith("scipy._")}
    assert public <= {"scipy.special", "scipy.version"}


def test_interrupt_is_130(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "invoke", interrupt)
    done = run("plan", "--events-per-hour", "1")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "driftgauge: interrupted"
