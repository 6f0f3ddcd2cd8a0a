"""What a process has used, by the system. Its clients and threads are included."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def processor_s(pid: int | str = "self") -> float:
    """Return the processor time of a process, in seconds, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / _TICKS


def resident_mib(pid: int | str = "self") -> float:
    """Return the memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE / 2**20
