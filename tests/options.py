"""Options on the command line, for the programs among the tests."""

import argparse
from collections.abc import Collection


def parse_options(
    description: str | None, part: Collection[str] = (), only: Collection[str] = (), **defaults: object
) -> argparse.Namespace:
    """Return the options that a program was called with.

    Args:
        description: What the program says of itself.
        part: Of these the first argument names one; empty: there is no argument.
        only: Of these `--only` names some; by default all.
        defaults: The default of each further option, which also is its type. False: it is a switch.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    if part:
        parser.add_argument("part", choices=part)
    if only:
        parser.add_argument("--only", nargs="*", choices=only, default=[*only], help="default: all")
    for name, default in defaults.items():
        how = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name.replace('_', '-')}", help="default: %(default)s", **how)
    return parser.parse_args()
