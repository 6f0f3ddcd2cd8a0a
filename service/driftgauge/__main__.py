"""Runs the `driftgauge` command as `python -m driftgauge`."""

from driftgauge.cli import main

if __name__ == "__main__":
    main()
