"""How fast health and metrics answer beside idle and slow clients: `python -m tests.bench.connections`.

A process with 160 descriptors has had 2,000 connections without a request, and 200 with half of one. Each
answer is asked for on a new connection.
"""

import statistics
import tempfile
import time
from pathlib import Path

from tests.output import say
from tests.web.test_server import crowded


def main() -> None:
    with tempfile.TemporaryDirectory() as name, crowded(Path(name)) as replica:
        for path in ("/livez", "/readyz", "/metrics"):
            taken_s = []
            for _ in range(50):
                began_s = time.monotonic()
                replica.get(path)
                taken_s.append(time.monotonic() - began_s)
            say(f"{path}: median {statistics.median(taken_s):.3f} s, longest {max(taken_s):.3f} s")


if __name__ == "__main__":
    main()
