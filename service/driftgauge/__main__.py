"""`python -m driftgauge` is the `driftgauge` command."""

from driftgauge.cli import main

if __name__ == "__main__":
    main()
