"""The memory limit of a process, from its control groups."""

import pytest

from driftgauge.telemetry.memory_limit import memory_limit_bytes

MIB = 2**20


def test_without_groups_limit_is_memory_of_machine(tmp_path):
    assert 64 * MIB < memory_limit_bytes(tmp_path) == memory_limit_bytes(tmp_path / "none")


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        pytest.param("0::/\n", {"memory.max": 512}, id="in a container"),
        pytest.param("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": 512}, id="of a group above"),
        pytest.param("0::/kubepods/pod\n", {"memory.max": 512}, id="path of the host"),
        pytest.param(
            "3:cpu:/x\n7:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": 512}, id="first version"
        ),
    ],
)
def test_limit_is_least_of_groups(tmp_path, groups, limits):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, limit in limits.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit if isinstance(limit, str) else limit * MIB}\n")
    assert memory_limit_bytes(tmp_path) == 512 * MIB
