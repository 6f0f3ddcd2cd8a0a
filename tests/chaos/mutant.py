"""`driftgauge` with a planted fault, an injected failure, or both.

    python mutant.py FAULT FAILURE ARGUMENTS…

The failure is the one that the fault's guard is for. Either may be "none".
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.mutants.planted import plant


def main() -> None:
    fault, failure = sys.argv.pop(1), sys.argv.pop(1)
    if fault != "none":
        plant(fault)
    # The service is imported with the fault.
    from driftgauge import cli  # noqa: PLC0415
    from tests.chaos.failures import FAILURES  # noqa: PLC0415

    if failure != "none":
        FAILURES[failure]()
    cli.main()


if __name__ == "__main__":
    main()
