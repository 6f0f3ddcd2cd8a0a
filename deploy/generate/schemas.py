"""The JSON Schemas of schemas/ (draft 2020-12), from the models."""

import re
from collections.abc import Mapping
from inspect import getdoc
from typing import Any

from deploy.generate.texts import to_json
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from driftgauge.config import Settings, StreamSettings
from driftgauge.config.inputs import InputSettings
from driftgauge.core.durations import format_duration
from driftgauge.records.window_record import WindowRecord

__all__ = ["json_schemas", "settings_schema"]

_MODELS: dict[str, type[BaseModel]] = {
    "window-result.v1": WindowRecord,
    "settings": Settings,
}
# What the models' validators also accept: short forms of lists, and a path as text.
_WITH_SHORT_FORMS = (StreamSettings, InputSettings)
_PATHS = ("Source", "NumberSource", "TimeSource", "VectorSource")
# Of CloudEvents the timestamp has a default.
_REQUIRED_TIME = {
    "required": [],
    "if": {"required": ["encoding"], "properties": {"encoding": {"const": "cloudevents"}}},
    "else": {"required": ["timestamp"]},
}
# As a file has it, and as a configuration is printed, with every field.
_NAME_OR_MATCH = {
    "oneOf": [
        {
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "match": {"type": "null"}, "most": {"const": 1}},
        },
        {
            "required": ["match", "most"],
            "properties": {"name": {"type": "null"}, "match": {"type": "string"}},
        },
    ]
}
# An entry of the section Attributes of a docstring; further lines are indented more.
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


class _Generator(GenerateJsonSchema):
    """Omits titles, which only repeat names of fields, and describes fields by their class's docstring."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Split the docstring: its text describes the model, and each attribute's entry a field."""
        written = super().model_schema(schema)
        for each in reversed(schema["cls"].__mro__):
            fields = getattr(each, "model_fields", {})
            text, _, attributes = (getdoc(each) or "").partition("\n\nAttributes:\n")
            for name, entry in _ATTRIBUTE.findall(attributes) if fields else ():
                if name in fields:
                    field = written["properties"][fields[name].alias or name]
                    field["description"] = " ".join(entry.split())
        written["description"] = text
        return written

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write the default of a duration as a file does."""
        written = super().default_schema(schema)
        if written.get("type") == "string" and isinstance(written["default"], int):
            written["default"] = format_duration(written["default"])
        return written


def json_schemas() -> Mapping[str, str]:
    """Return the text of each schema by file name."""
    return {f"{name}.schema.json": to_json(_schema(name, model)) for name, model in _MODELS.items()}


def settings_schema() -> dict[str, Any]:
    """Return the schema of the configuration file."""
    return _schema("settings", Settings)


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:driftgauge:{name.replace('.', ':')}",
        **model.model_json_schema(schema_generator=_Generator),
    }
    if model is Settings:
        definitions = schema["$defs"]
        for kind in _WITH_SHORT_FORMS:
            section = definitions[kind.__name__]
            section["required"].remove(kind.LONG_FORM)
            description = {"description": f"The short form of one entry of `{kind.LONG_FORM}`."}
            section["properties"] |= dict.fromkeys(kind.SHORT_FORMS, description)
        definitions |= {kind: {"anyOf": [{"type": "string"}, definitions[kind]]} for kind in _PATHS}
        definitions["InputSettings"] |= _REQUIRED_TIME
        definitions["StreamSettings"] |= _NAME_OR_MATCH
    return schema
