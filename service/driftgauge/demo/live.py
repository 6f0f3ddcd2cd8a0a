"""Traffic that goes on once the story is told, for a Prometheus that is pointed at the service."""

import time
from collections.abc import Callable
from itertools import cycle

import numpy as np
from confluent_kafka import Producer

from driftgauge.demo.digits import Condition, Images, expose, reuse
from driftgauge.demo.network import MODEL_VERSION, Network
from driftgauge.demo.stage import EVENTS_TOPIC
from driftgauge.kafka.publisher import Publication, publish

__all__ = ["LIVE_STREAM", "LIVE_WINDOW", "publish_live"]

LIVE_STREAM = "digits-live"
LIVE_WINDOW = "1m"
_PHASE_MINUTES = 5

# Well above what a window of a minute needs to be scored, and no load to speak of.
_EVENTS_PER_PERIOD = 20
_PERIOD_MS = 1_000
_MINUTE_MS = 60_000


def publish_live(
    producer: Producer,
    network: Network,
    images: Images,
    *,
    rng: np.random.Generator,
    clock_ms: Callable[[], int],
    check: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Publish events of the present time until interrupted, a few minutes under each condition.

    Args:
        producer: Sends the events.
        network: Gives the embeddings.
        images: What the events show.
        rng: Chooses images and shifts.
        clock_ms: Wall time.
        check: Called every second; ends the traffic by raising.
        say: Told when the condition changes.

    Raises:
        BrokerError: The broker did not take the events.
    """
    for condition in cycle(Condition):
        say(f"For {_PHASE_MINUTES} minutes: {condition} images.")
        end_ms = clock_ms() + _PHASE_MINUTES * _MINUTE_MS
        while clock_ms() < end_ms:
            check()
            time.sleep(_PERIOD_MS / 1_000)
            rows = rng.integers(len(images.labels), size=_EVENTS_PER_PERIOD)
            publication = Publication.spread(
                topic=EVENTS_TOPIC,
                stream=LIVE_STREAM,
                vectors=network.embed(expose(reuse(images, rows, rng), condition)),
                start_ms=clock_ms() - _PERIOD_MS,
                span_ms=_PERIOD_MS,
                disorder_ms=0,
                seed=0,
                model_version=MODEL_VERSION,
            )
            publish(producer, publication, rate=None)
