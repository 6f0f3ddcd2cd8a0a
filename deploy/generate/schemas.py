"""The JSON Schemas of schemas/ (draft 2020-12), from the models."""

from collections.abc import Mapping

from deploy.generate.texts import to_json
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from driftgauge.events.contract import Event
from driftgauge.records.window_record import WindowRecord

__all__ = ["json_schemas"]

_MODELS: dict[str, type[BaseModel]] = {"event.v1": Event, "window-result.v1": WindowRecord}


class _Generator(GenerateJsonSchema):
    """Omits titles, which only repeat the names of fields."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schemas() -> Mapping[str, str]:
    """Return the text of each schema by file name."""
    return {f"{name}.schema.json": _schema(name, model) for name, model in _MODELS.items()}


def _schema(name: str, model: type[BaseModel]) -> str:
    return to_json(
        {
            "$schema": GenerateJsonSchema.schema_dialect,
            "$id": f"urn:driftgauge:{name.replace('.', ':')}",
            **model.model_json_schema(schema_generator=_Generator),
        }
    )
