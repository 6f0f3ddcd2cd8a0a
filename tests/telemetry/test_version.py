"""The commit that /version names; `tests/test_smoke.py` asks the running service."""

from driftgauge.telemetry.endpoints import read_commit
from tests.processes import run_command


def test_commit_of_another_clone_is_not_taken(tmp_path):
    git = ("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.com")
    run_command(*git, "init", check=True)
    run_command(*git, "commit", "--allow-empty", "--message=another", check=True)
    package = tmp_path / ".venv/lib/python3.11/site-packages/driftgauge"
    package.mkdir(parents=True)
    assert read_commit(package) is None
    (package / "commit.txt").write_text("5f3c\n")
    assert read_commit(package) == "5f3c"
