"""Deployment marks: what a team did at a time, such as a release, as a record of the topic of marks."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from driftgauge.config.fields import STREAM_NAME
from driftgauge.events.timestamps import format_timestamp, read_timestamp

__all__ = ["AHEAD_MS", "Mark"]

AHEAD_MS = 86_400_000
"""How long before its time a mark may be written, ms: a wrong year would hide later marks of the stream."""


class Mark(BaseModel):
    """A deployment mark."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)

    time: Annotated[int, BeforeValidator(read_timestamp), PlainSerializer(format_timestamp)]
    """When it happened, RFC 3339, or epoch milliseconds."""

    text: Annotated[str, Field(min_length=1, max_length=200)]
    """What happened."""

    stream: Annotated[str, Field(pattern=f"^{STREAM_NAME}$")] | None = None
    """The stream that it concerns; null for all."""

    link: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=1_000)] | None = None
    """Where more is said about it."""
