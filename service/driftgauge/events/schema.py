"""Generator of the JSON Schemas in `schemas/` from the models.

`python -m driftgauge.events.schema` writes the schemas; `--check` only reports whether they are up to
date. Run it from the repository's root.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.events.contract import Event
from driftgauge.events.window_record import WindowRecord

__all__ = ["json_schemas", "main"]

_FOLDER = Path("schemas")
_MODELS: dict[str, type[BaseModel]] = {
    "event.v1": Event,
    "window-result.v1": WindowRecord,
    "settings": Settings,
}
# What the models' validators also accept: other keys in place of one, and a path as text.
_SHORT_FORMS = {
    "StreamSettings": ("baselines", ["baseline"]),
    "InputSettings": ("vectors", ["stream", "embedding"]),
}
_PATHS = ("Source", "TimeSource", "VectorSource")


class _Generator(GenerateJsonSchema):
    """Omits titles, which only repeat the names of fields."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write the default of a duration as a file does."""
        written = super().default_schema(schema)
        if written.get("type") == "string" and isinstance(written["default"], int):
            written["default"] = format_duration(written["default"])
        return written


def json_schemas() -> dict[str, str]:
    """Return the text of each schema by file name (JSON Schema, draft 2020-12)."""
    return {f"{name}.schema.json": _schema(name, model) for name, model in _MODELS.items()}


def main(arguments: list[str] | None = None) -> None:
    """Write the schemas, or check them.

    Raises:
        SystemExit: The folder is missing, or a checked schema is out of date; status 1.
    """
    parser = argparse.ArgumentParser(description="Write schemas/ from the models.")
    parser.add_argument("--check", action="store_true", help="only report whether they are up to date")
    check = parser.parse_args(arguments).check
    if not _FOLDER.is_dir():
        sys.exit(f"no folder {_FOLDER}/ here; run this from the repository's root")
    for name, text in json_schemas().items():
        path = _FOLDER / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        if check:
            sys.exit(f"{path} does not match the models; run `python -m driftgauge.events.schema`")
        path.write_text(text, "utf-8")


def _schema(name: str, model: type[BaseModel]) -> str:
    schema: dict[str, Any] = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:driftgauge:{name.replace('.', ':')}",
        **model.model_json_schema(schema_generator=_Generator),
    }
    if model is Settings:
        definitions = schema["$defs"]
        for kind, (long, short) in _SHORT_FORMS.items():
            definitions[kind]["required"].remove(long)
            definitions[kind]["properties"] |= {key: {"description": f"Short for {long}."} for key in short}
        definitions |= {kind: {"anyOf": [{"type": "string"}, definitions[kind]]} for kind in _PATHS}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
