"""The base model of all JSON in the internal topics."""

from pydantic import BaseModel, ConfigDict

__all__ = ["RecordModel"]


class RecordModel(BaseModel):
    """A JSON object; fields of later versions are ignored, so replicas of two versions can share a topic."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")
