"""Streams whose truth is known: drawn by the hour, counted and judged by the core, published as results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline, save
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.segments import Members
from driftgauge.baseline.windows import Traffic
from driftgauge.config import Settings
from driftgauge.core.local import LocalDriver
from driftgauge.events.timestamps import format_timestamp
from driftgauge.records.window_results import result_record
from driftgauge.streams import describe_baselines, load_streams
from tests.builders.batches import build_columns
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.page import MadeResults

CAMERAS = ("dock-1", "dock-2")
_CENTRES = 4 * np.eye(6, 8)
_NEW = np.full(8, 6.0)
# Beyond the baseline's spread of one, in the direction of no centre.
_SHIFT = np.array([0, 0, 0, 0, 0, 0, 0.4, 0.4])
OLD = "about order"
"""How the texts of other events begin."""

NEW = "about the recall"
"""The text of an event of the topic that grows."""

_STEPS = 3
"""Counts an hour."""
_OFTEN_MS = 10_000
_NIGHT = (22, 23, 0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Truth:
    """What happens to a stream from an hour on, in hours since a Monday; None: never.

    Attributes:
        hours: How long the stream runs.
        shifted: From when all inputs are shifted.
        shifted_little: From when they are, by so little that no single hour shows it.
        shifted_dock: From when those of dock-2, a quarter of all, are.
        growing: From when a new topic grows, by 0.3 % of all events a day.
        stuck: From when and until when one input is half of all.
        quiet: The hours without any event.
        unread: From when one of the two partitions is not read.
        backfilled: Until when all events are read at once, at that hour.
        renewed: From when a baseline of the inputs as they are then is in force.
        by_day, by_night: Events an hour.
    """

    hours: int
    shifted: float = np.inf
    shifted_little: float = np.inf
    shifted_dock: float = np.inf
    growing: float = np.inf
    stuck: tuple[int, int] = (0, 0)
    quiet: frozenset[int] = field(default_factory=frozenset)
    unread: float = np.inf
    backfilled: int = 0
    renewed: int | None = None
    by_day: int = 150
    by_night: int = 10

    @property
    def began_ms(self) -> float:
        """When the first change began, event time, ms; infinite without one."""
        return MONDAY_MS + HOUR_MS * min(self.shifted, self.shifted_little, self.shifted_dock, self.growing)


TRUTHS = {
    "images": Truth(7 * 24 + 4, shifted_dock=3 * 24, shifted=5 * 24 + 8),
    "texts": Truth(9 * 24 + 12, growing=2 * 24, by_day=60, by_night=60),
    "gaps": Truth(4 * 24 + 15, quiet=frozenset(range(52, 58)), unread=4 * 24 + 14),
    "frames": Truth(3 * 24 + 15, stuck=(24 + 9, 24 + 14)),
    "little": Truth(24 + 19, shifted_little=24 + 6, by_night=150),
}
"""The streams: drift on one camera first, then everywhere; a topic that grows slowly; gaps, nights and an
incomplete window; a camera that repeats one frame for five hours; slow drift."""

_LATE = 8 * 24 + 15
SITUATIONS = {
    # The inputs of one segment shift.
    "shelf-cameras": Truth(_LATE, shifted_dock=6 * 24),
    # The baseline never fitted.
    "parcel-photos": Truth(_LATE, shifted=0),
    # A baseline that holds the shifted inputs ends the alarm.
    "returns-photos": Truth(_LATE, shifted=4 * 24, renewed=6 * 24),
    # A partition is not read.
    "gate-cameras": Truth(_LATE, quiet=frozenset(range(52, 58)), unread=_LATE - 1),
    "catalogue-images": Truth(_LATE),
    # A night after eight days were read at once.
    "support-tickets": Truth(8 * 24 + 4, backfilled=8 * 24 + 1),
}
"""What happens to further streams; the names say nothing of it, so that people can be asked."""


def draw(
    truth: Truth, hour: int, random: np.random.Generator, span_ms: int = HOUR_MS
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Return the vectors of an hour, or of a part of it, and the camera and the text of each."""
    hourly = truth.by_night if hour % 24 in _NIGHT else truth.by_day
    count = 0 if hour in truth.quiet else int(random.poisson(hourly * span_ms / HOUR_MS))
    topics = random.integers(6, size=count)
    vectors = _CENTRES[topics] + random.normal(size=(count, 8))
    cameras = [CAMERAS[number] for number in (random.random(count) < 0.25).astype(np.intp)]
    on_dock = np.array([camera == "dock-2" for camera in cameras], dtype=np.bool_)
    vectors[(hour >= truth.shifted) | (on_dock & (hour >= truth.shifted_dock))] += _SHIFT
    vectors += (hour >= truth.shifted_little) * 0.6 * _SHIFT
    is_new = random.random(count) < max(hour - truth.growing, 0) / 24 * 0.003
    vectors[is_new] = _NEW + random.normal(size=(int(is_new.sum()), 8))
    if truth.stuck[0] <= hour < truth.stuck[1]:
        vectors[: count // 2] = vectors[:1]
    texts = [NEW if new else f"{OLD} 0{topic}" for new, topic in zip(is_new, topics, strict=True)]
    return vectors, cameras, texts


def configure(folder: Path, truths: Mapping[str, Truth] = TRUTHS) -> Settings:
    """Return a configuration of some streams, with a baseline of two clean weeks each."""
    common: dict[str, Any] = {
        "windows": ["1h", "1d"],
        "min_events": None,
        "segments": ["camera"],
        "snippet_bytes": 80,
        "labels": {"owner": "vision@example.com", "severity": "critical"},
    }
    streams = []
    for stream, truth in truths.items():
        clean = Truth(0, by_day=truth.by_day)
        save(_fit(stream, clean), folder / f"{stream}.safetensors")
        baselines: list[dict[str, Any]] = [{"file": f"{stream}.safetensors"}]
        if truth.renewed is not None:
            renewed = replace(clean, shifted=0 if truth.shifted <= truth.renewed else np.inf)
            save(_fit(stream, renewed), folder / f"{stream}-renewed.safetensors")
            from_ms = MONDAY_MS + truth.renewed * HOUR_MS
            baselines.append({"file": f"{stream}-renewed.safetensors", "from": format_timestamp(from_ms)})
        streams.append(common | {"name": stream, "baselines": baselines})
    return settings_in(folder, *streams)


def _fit(stream: str, truth: Truth) -> Baseline:
    """Return the baseline of two weeks for a stream."""
    baseline = _fit_weeks(truth)
    return replace(baseline, metadata=baseline.metadata.model_copy(update={"stream": stream}))


@cache
def _fit_weeks(truth: Truth) -> Baseline:
    """Return it for any stream: a fit takes a second and a half."""
    random = np.random.default_rng(104)
    drawn = [draw(truth, hour, random) for hour in range(14 * 24)]
    vectors = np.concatenate([each for each, _, _ in drawn]).astype(np.float32)
    cameras = np.array([camera for _, each, _ in drawn for camera in each])
    hours = np.repeat(np.arange(len(drawn)), [len(each) for each, _, _ in drawn])
    segments = tuple(
        Members("camera", value, cameras == camera)
        for value, camera in (("dock-2", "dock-2"), ("other", "dock-1"))
    )
    return fit_baseline(
        vectors,
        stream="any",
        clusters=6,
        created_ms=MONDAY_MS - DAY_MS,
        progress=lambda _: None,
        provenance=Provenance(
            Traffic.of(hours * HOUR_MS, HOUR_MS),
            segments,
            texts=[text for _, _, each in drawn for text in each],
            event_ids=[f"before-{row}" for row in range(len(vectors))],
            text_bytes=80,
        ),
    )


def results_of(settings: Settings, stream: str, truth: Truth) -> Iterator[tuple[bytes, int]]:
    """Yield the results of a stream, and the time in ms at which each is published."""
    configured = next(each for each in load_streams(settings) if each.spec.name == stream)
    description = describe_baselines([configured])
    driver = LocalDriver([configured.spec], "embeddings", 2)
    random = np.random.default_rng(1)
    offsets = np.zeros(2, np.int64)
    for step in range(truth.hours * _STEPS):
        start_ms = MONDAY_MS + step * HOUR_MS // _STEPS
        vectors, cameras, texts = draw(truth, step // _STEPS, random, HOUR_MS // _STEPS)
        held = 1 if step / _STEPS >= truth.unread else 2
        partition = np.arange(len(vectors)) % 2
        read = partition < held
        batch = build_columns(
            stream,
            partition,
            offsets[partition] + np.arange(len(vectors)) // 2,
            start_ms + np.sort(random.integers(HOUR_MS // _STEPS, size=len(vectors))),
            vectors,
            baseline=configured.spec.baseline_at(start_ms).key,
            event_ids=[f"{stream}-{step}-{number}" for number in range(len(vectors))],
            segments=[{"camera": camera} for camera in cameras],
            snippets=texts,
        ).filter(read)
        offsets[:held] += np.bincount(partition[read], minlength=2)[:held]
        end_ms = max(start_ms + HOUR_MS // _STEPS, MONDAY_MS + truth.backfilled * HOUR_MS)
        driver.count([batch], end_ms)
        # A shard that sees no commit for long takes that for its own pause, and lets no wait run out.
        for now_ms in range(end_ms, end_ms + (HOUR_MS // _STEPS if held == 1 else 1), _OFTEN_MS):
            for result in driver.commit(now_ms, dict(enumerate(offsets.tolist())), range(held)).results:
                yield result_record(result, description[result.baseline_id]), now_ms


class TrueResults(MadeResults):
    """The results of one of the streams, all published."""

    def __init__(self, settings: Settings, stream: str, truth: Truth | None = None) -> None:
        super().__init__(streams=settings.by_stream, shows_snippets=True)
        truth = truth or TRUTHS[stream]
        self.now_ms = MONDAY_MS + truth.hours * HOUR_MS
        for value, published_ms in results_of(settings, stream, truth):
            self.add(value, published_ms)
