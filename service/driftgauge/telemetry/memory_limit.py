"""The memory that the kernel lets this process take."""

import os
from pathlib import Path

__all__ = ["memory_limit_bytes"]


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """Return the least of the limits of the process's control groups and of the machine's memory, in bytes.

    Args:
        root: Where /proc and /sys are found.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> list[int]:
    """Return the limits of the memory groups of both versions, those of the groups above them included."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []  # no Linux
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounted, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mounted, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be that of the host, and the mounted folder the container's own.
        group = mounted / path.lstrip("/")
        folders = [mounted, *(each for each in (group, *group.parents) if mounted in each.parents)]
        for folder in folders:
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):
                continue  # no such group, or its limit is "max"
    return limits
