"""What all JSON of the internal topics has in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["RecordModel"]


class RecordModel(BaseModel):
    """An object. Fields of later versions are ignored, so that replicas of two versions can share a topic."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")
