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


def test_command_line_has_exactly_documented_commands():
    assert {" ".join(path) for path in command_paths(cli)} == {
        "",
        "serve",
        "page",
        "replay",
        "report",
        "publish",
        "plan",
        "backtest",
        "health",
        "kafka",
        "kafka reshard",
        "kafka transactions",
        "kafka transactions list",
        "kafka transactions resolve",
        "config",
        "config check",
        "events",
        "events peek",
        "baseline",
        "baseline fit",
        "baseline show",
        "baseline compare",
    }


def test_module_runs_as_command():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("driftgauge, version ")


def test_health_loads_no_kafka_client_and_no_arrays():
    loaded = modules_loaded_by("from driftgauge.cli import cli; cli.get_command(None, 'health')")
    assert {"driftgauge.cli", "driftgauge.telemetry"} <= loaded
    assert not {"confluent_kafka", "numpy", "pydantic", "rich", "scipy"} & loaded


@pytest.mark.parametrize("module", ["driftgauge.app", "driftgauge.cli.service"])
def test_serving_imports_no_heavy_libraries(module):
    loaded = modules_loaded_by(f"import {module}")
    assert {"driftgauge", "confluent_kafka", "numpy"} <= loaded
    assert not {"sklearn", "matplotlib", "joblib", "pandas", "rich"} & loaded
    # The statistics need scipy.special; the rest of scipy takes longer to load than the whole service.
    public = {name for name in loaded if name.startswith("scipy.") and not name.startswith("scipy._")}
    assert public <= {"scipy.special", "scipy.version"}


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


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["serve"], "Missing option '--config'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["replay", "--config", "x.yaml"], "Missing argument 'FILES...'"),
        (["serve", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (["config", "check", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (
            ["baseline", "show", "absent.safetensors"],
            "driftgauge: absent.safetensors: cannot read the baseline",
        ),
        (["baseline", "fit", "absent.npy", "--stream", "s", "--out", "o"], "driftgauge: absent.npy"),
        (["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--clusters", "1"], "'--clusters'"),
        (
            ["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--window", "0s"],
            "is not a window length",
        ),
        (["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--segment", "de"], "does not choose"),
        (["baseline", "compare", "a.safetensors"], "Missing argument 'B'"),
        (["baseline", "compare", "absent.safetensors", "b"], "driftgauge: absent.safetensors: cannot read"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--span", "5"], "'5' is not a duration"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--start", "5"], "not an RFC 3339 date-time"),
        (["health", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (
            ["health", "--config", "absent.yaml", "--url", "http://localhost:9464"],
            "--url both name a service",
        ),
        (
            ["config", "check", "--config", "absent.yaml", "--sample", "a"],
            "driftgauge: absent.yaml cannot be",
        ),
        (["events", "peek", "--config", "absent.yaml"], "Missing option '--topic'"),
        (["events", "peek", "--config", "absent.yaml", "--topic", "t"], "driftgauge: absent.yaml cannot be"),
        (["events", "peek", "--config", "c", "--topic", "t", "--last", "0"], "0 is not in the range"),
        (["plan"], "Missing option '--events-per-hour'"),
        (["plan", "--events-per-hour", "0"], "0.0 is not in the range x>0"),
        (["plan", "--events-per-hour", "nan"], "nan is not a finite number"),
        (["plan", "--events-per-hour", "inf"], "inf is not a finite number"),
        (["plan", "--events-per-hour", "1", "--dispersion", "0.9"], "'--dispersion'"),
        (["plan", "--events-per-hour", "1", "--smallest-divergence", "2"], "'--smallest-divergence'"),
        (
            ["plan", "--events-per-hour", "1", "--baseline", "absent.safetensors"],
            "driftgauge: absent.safetensors: cannot read the baseline",
        ),
    ],
)
def test_operator_error_prints_one_message_and_exits_with_2(arguments, part):
    done = run(*arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
