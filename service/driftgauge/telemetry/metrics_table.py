"""Generator of the metrics reference: `python -m driftgauge.telemetry.metrics_table [--check] [FILE]`."""

import sys
from pathlib import Path

import click

from driftgauge.errors import InputError
from driftgauge.telemetry.catalogue import METRICS

__all__ = ["render_table", "replace_table"]

_BEGIN = "<!-- metrics:begin -->"
_END = "<!-- metrics:end -->"


def render_table() -> str:
    """Return the catalogue as a markdown table."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(metric.labels)} | {metric.unit} | {metric.help} |"
        for metric in METRICS.values()
    ]
    return "\n".join(["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|", *rows])


def replace_table(text: str) -> str:
    """Return a document with the table between its two markers updated.

    Raises:
        InputError: The document does not have exactly one of each marker, begin before end.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end) or _BEGIN in rest or _END in before + after:
        message = (
            f"the document must have one {_BEGIN} and one {_END} after it; add both where the table belongs"
        )
        raise InputError(message)
    return f"{before}{_BEGIN}\n{render_table()}\n{_END}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if the table is out of date.")
@click.argument(
    "document", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="deploy/README.md"
)
def _main(document: Path, *, check: bool) -> None:
    """Write the table of metrics into DOCUMENT (deploy/README.md by default)."""
    text = document.read_text(encoding="utf-8")
    try:
        replaced = replace_table(text)
    except InputError as error:
        message = f"{document}: {error}"
        raise click.UsageError(message) from error
    if check and replaced != text:
        click.echo(
            f"{document}: the table of metrics is out of date; run `make generate`",
            err=True,
        )
        sys.exit(1)
    if replaced != text:
        document.write_text(replaced, encoding="utf-8")


if __name__ == "__main__":
    _main()
