"""The command line of another checkout, in this environment: its arguments are CHECKOUT ARGUMENTS..."""

import runpy
import sys


def main() -> None:
    checkout, *arguments = sys.argv[1:]
    sys.path.insert(0, f"{checkout}/service")
    if "--role" in arguments:
        # Version 0.1 has no roles; without the option later versions have both.
        at = arguments.index("--role")
        del arguments[at : at + 2]
    sys.argv = ["driftgauge", *arguments]
    runpy.run_module("driftgauge", run_name="__main__")


if __name__ == "__main__":
    main()
