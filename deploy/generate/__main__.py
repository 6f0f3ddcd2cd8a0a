"""Writes the generated files: `python -m deploy.generate [--check]`."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click
from deploy.generate import alertmanager, alerts, licences, reference, versions
from deploy.generate.grafana import drift, service
from deploy.generate.schemas import json_schemas
from deploy.generate.texts import to_json, to_yaml

_ROOT = Path(__file__).parents[2]
# The chart reads no files outside its folder, so what others use too is there.
_SHARED = "deploy/kubernetes/chart/files"


def files() -> Mapping[Path, str]:
    """Return the text of every generated file, by its path."""
    texts = {
        f"{_SHARED}/rules/driftgauge-alerts.yml": to_yaml({"groups": alerts.groups()}),
        f"{_SHARED}/alertmanager-config.yaml": to_yaml(alertmanager.spec()),
        "deploy/LICENCES.md": licences.document(),
        **{
            f"{_SHARED}/dashboards/{dashboard['uid']}.json": to_json(dashboard)
            for dashboard in (drift.dashboard(), service.dashboard())
        },
        **{f"schemas/{name}": text for name, text in json_schemas().items()},
        **reference.documents(),
        **versions.documents(),
    }
    return {_ROOT / name: text for name, text in texts.items()}


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file is out of date.")
def main(*, check: bool) -> None:
    """Write the generated files of deploy/, of schemas/ and the reference; and the version in other files."""
    stale = {
        path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text
    }
    if not check:
        for path, text in stale.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    elif stale:
        names = ", ".join(str(path.relative_to(_ROOT)) for path in stale)
        sys.exit(f"out of date: {names}; run `make generate`")


if __name__ == "__main__":
    main()
