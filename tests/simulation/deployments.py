"""Configurations of a run, and what the service makes of them."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from driftgauge.config import Settings, load_settings
from driftgauge.core.spec import StreamSpec
from driftgauge.events.decoder import Decoder
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.streams import ConfiguredStream, build_decoder, describe_baselines, load_streams
from tests.builders.baselines import SEGMENTS, save_baseline
from tests.builders.references import build_reference
from tests.simulation.producers import SCHEMAS, VERSION, inputs

_FIRST_OF = {"images": "images", "texts": "texts", "shop": "shop/a"}


@cache
def baselines_folder() -> Path:
    """Return a folder with three baselines of each kind of stream, which the process keeps.

    The second assigns every vector to another cluster than the first; the third was fitted on more vectors.
    """
    folder = Path(tempfile.mkdtemp(prefix="driftgauge-simulation-"))
    for family, stream in _FIRST_OF.items():
        for number, (shift, count) in enumerate(((0, 1_000), (1, 1_000), (0, 100_000))):
            save_baseline(
                folder,
                stream,
                file=f"{family}-{number}.safetensors",
                reference=build_reference(f"{family}-{number}", shift=shift, count=count),
                segments=SEGMENTS,
                model_version=VERSION,
            )
    return folder


@dataclass(frozen=True)
class Deployment:
    """A configuration, and what the service makes of it."""

    settings: Settings
    streams: list[ConfiguredStream]
    specs: list[StreamSpec]
    descriptions: Mapping[str, BaselineDescription]

    @classmethod
    def load(cls, tree: dict[str, Any], encodings: Mapping[str, str]) -> "Deployment":
        """Return the deployment of a configuration file with these contents."""
        registry = {"schema_registry": {"url": "http://simulated"}, "inputs": inputs(encodings)}
        path = baselines_folder() / "driftgauge.yaml"
        path.write_text(yaml.safe_dump({**tree, **registry}), "utf-8")
        settings = load_settings(path, {})
        streams = load_streams(settings)
        return cls(settings, streams, [each.spec for each in streams], describe_baselines(streams))

    def decoder(self) -> Decoder:
        """Return a decoder of the events topics."""
        settings = self.settings
        return build_decoder(
            self.streams,
            settings.allowed_lead,
            settings.largest_record,
            settings.inputs,
            SCHEMAS,
            age_ms=settings.allowed_age,
        )
