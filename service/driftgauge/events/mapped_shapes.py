"""Reading of the records of a mapping by shapes."""

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.mapped_single import compile_single
from driftgauge.events.shapes import Kind, Layout, Learner, Path, ShapeReader, SingleReader, Unshaped
from driftgauge.events.sources import Getter, compile_source

__all__ = ["compile_shapes"]


def compile_shapes(settings: InputSettings, learn: Learner) -> ShapeReader | None:
    """Return the reader of a mapping by shapes.

    Args:
        settings: A mapping with one vector, without a shape.
        learn: The learner of its encoding.

    Returns:
        None where shapes cannot serve: a path leads to an item of a list, a field is the whole value or is
        read in two ways, or a condition is on something beside the value.
    """
    (vector,) = settings.vectors
    texts = (vector.stream, settings.event_id, settings.model_version, *settings.segments.values())
    read: list[tuple[Source, Kind]] = [(source, "text") for source in texts if source is not None]
    read += [(settings.timestamp, "time"), (vector.embedding, "vector")]
    read += [(condition, "same") for condition in settings.where]
    kinds: dict[Path, Kind] = {}
    for source, kind in read:
        if source.record == "value" or (kind == "same" and source.path is None):
            return None
        if source.path is not None:
            path = _names(source.path)
            if len(path) < len(parse_path(source.path)) or kinds.setdefault(path, kind) != kind:
                return None
    return ShapeReader(kinds, learn, lambda layout: _compile(settings, layout))


def _compile(settings: InputSettings, layout: Layout) -> SingleReader:
    """Return what reads the records of a layout.

    Raises:
        Unshaped: It lacks a field that every event has.
    """

    def compile_field(source: Source) -> Getter:
        return compile_source(source) if source.path is None else layout.getter(_names(source.path))

    (vector,) = settings.vectors
    for source in (vector.stream, vector.embedding, settings.timestamp):
        if source.path is not None and _names(source.path) not in layout.groups:
            raise Unshaped
    if layout.is_in_ms:
        in_ms = settings.timestamp.model_copy(update={"unit": "ms"})
        settings = settings.model_copy(update={"timestamp": in_ms})
    return compile_single(settings, compile_field, layout.number)


def _names(path: str) -> Path:
    return tuple(step for step in parse_path(path) if isinstance(step, str))
