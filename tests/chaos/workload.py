"""The events of a chaos run; they follow from their recipe alone."""

import base64
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

PARTITIONS: Final = 12
STREAMS: Final = ("alpha", "beta", "gamma", "live")
SHARES: Final = (0.42, 0.42, 0.08, 0.08)
# On a topic of its own, to which an unclean election happens.
LOSSY: Final = "lossy"
KEYED, LIVE = STREAMS.index("gamma"), STREAMS.index("live")
# To the keyed stream all other partitions are idle. The rest are on every partition.
KEYED_PARTITION: Final = 7
DIMENSION: Final = 4

# A Monday, long ago: silence may close its windows. A second of the run is 20 of event time, but for the
# live stream, whose events happen when they are sent.
START_MS: Final = 1_762_128_000_000
SPEED: Final = 20
DISORDER_MS: Final = 25_000
LIVE_DISORDER_MS: Final = 3_000

# What straggles comes after its windows have closed, and still corrects them. What is late comes after they
# are final: the service allows 30 minutes, and a partition may be behind the others by some of that.
STRAGGLING: Final = 1 / 1_000
STRAGGLING_MS: Final = (120_000, 300_000)
LATE: Final = 1 / 200
LATE_MS: Final = (3_600_000, 10_800_000)
# Windows are final only where a horizon has passed them.
LATE_FROM: Final = 0.1
# For a part of the run a part of the live stream's producers have clocks that are fast.
FAST: Final = 0.3
FAST_WITHIN: Final = (0.3, 0.5)
FAST_MS: Final = 240_000

# Far apart against their spread, so that rounding cannot move a vector from one cluster to another.
CENTRES: Final = np.vstack([np.zeros(DIMENSION), 10 * np.eye(DIMENSION)])
SPREAD: Final = 0.5

FAULTY: Final = 1 / 1_000


class Fault(IntEnum):
    """What is wrong with an event; the service's word for it is the name in small letters."""

    NONE = 0
    UNDECODABLE = 1
    UNKNOWN_STREAM = 2
    WRONG_DIMENSION = 3


def blobs(blob: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    """One (4,) vector around the centre that each entry names."""
    noise = random.normal(scale=SPREAD, size=(len(blob), DIMENSION))
    return (CENTRES[blob] + noise).astype(np.float32)


@dataclass(frozen=True)
class Recipe:
    """What a workload follows from.

    Attributes:
        seed: Of everything random.
        events: How many there are.
        seconds: How long sending them takes.
        live_from_ms: When the sending begins, by the wall clock; the live stream's first event time.
    """

    seed: int
    events: int
    seconds: float
    live_from_ms: int

    @property
    def fast_ms(self) -> int:
        """How far fast clocks are ahead; less in a short run, which could not wait for such windows."""
        return min(FAST_MS, int(self.seconds * 200))


@dataclass(frozen=True)
class Workload:
    """Events in order of sending, evenly over the time; each array has one entry an event.

    Attributes:
        recipe: What they follow from.
        stream: Index into STREAMS.
        partition: Where it is sent.
        time_ms: Event time; out of order by the disorder, but for those that straggle, are late or fast.
        vectors: (n, 4) float32; their mix of blobs shifts in the course of the run.
        fault: What is wrong with it.
        late: Whether it comes after all its windows are final.
    """

    recipe: Recipe
    stream: NDArray[np.int64]
    partition: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    vectors: NDArray[np.float32]
    fault: NDArray[np.int64]
    late: NDArray[np.bool_]

    @classmethod
    def make(cls, recipe: Recipe) -> "Workload":
        random, events = np.random.default_rng(recipe.seed), recipe.events
        progress = np.arange(events) / events
        stream = random.choice(len(STREAMS), p=SHARES, size=events)
        partition = random.integers(PARTITIONS, size=events)
        partition[stream == KEYED] = KEYED_PARTITION
        is_live = stream == LIVE
        late = ~is_live & (random.random(events) < LATE) & (progress >= LATE_FROM)
        straggling = ~is_live & (random.random(events) < STRAGGLING)
        fast = is_live & (random.random(events) < FAST)
        fast &= (progress > FAST_WITHIN[0]) & (progress < FAST_WITHIN[1])
        delay_ms = random.integers(DISORDER_MS, size=events)
        delay_ms += np.where(straggling, random.integers(*STRAGGLING_MS, size=events), 0)
        delay_ms += np.where(late, random.integers(*LATE_MS, size=events), 0)
        live_delay_ms = random.integers(LIVE_DISORDER_MS, size=events) - np.where(fast, recipe.fast_ms, 0)
        sent_ms = progress * recipe.seconds * 1_000
        shifted = random.random(events) < progress / 2
        blob = np.where(shifted, 0, random.integers(len(CENTRES), size=events))
        fault = np.where(random.random(events) < FAULTY, random.choice(list(Fault)[1:], size=events), 0)
        return cls(
            recipe=recipe,
            stream=stream,
            partition=partition,
            time_ms=np.where(
                is_live,
                recipe.live_from_ms + sent_ms.astype(np.int64) - live_delay_ms,
                START_MS + (sent_ms * SPEED).astype(np.int64) - delay_ms,
            ),
            vectors=blobs(blob, random),
            fault=fault,
            late=late,
        )

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def ends(self) -> dict[int, int]:
        """How many events each partition is sent."""
        return dict(enumerate(np.bincount(self.partition, minlength=PARTITIONS).tolist()))

    def value(self, row: int) -> bytes:
        """The record of one event; no two are alike."""
        fault = self.fault[row]
        vector = self.vectors[row]
        if fault == Fault.WRONG_DIMENSION:
            vector = vector[1:]
        stream = "delta" if fault == Fault.UNKNOWN_STREAM else STREAMS[self.stream[row]]
        document: dict[str, object] = {
            "stream": stream,
            "timestamp": int(self.time_ms[row]),
            "event_id": str(row),
        }
        if stream == "beta":
            document["embedding_b64"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        else:
            document["embedding"] = vector
        value = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return value[:-1] if fault == Fault.UNDECODABLE else value
