"""The demo's story: three weeks of images, clean, blurred and darkened, through the real service.

The images are scikit-learn's handwritten digits, the embeddings the hidden layer of a network
trained on the spot, the days 21 of simulated event time, and the service is `driftgauge serve` in
a process of its own. Every number in the table was read from its /metrics over HTTP, save the
accuracy, which only the story's author can know.

The broker is embedded: in memory, for one replica; a restart would find nothing again.
"""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from confluent_kafka import Producer

from driftgauge.baseline.artifact import Baseline, save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.demo.days import DAY_MS, TABLE_HEAD, Day, check, table_row, week_rows
from driftgauge.demo.digits import Condition, Images, expose, reuse, split_digits
from driftgauge.demo.live import LIVE_STREAM, LIVE_WINDOW, publish_live
from driftgauge.demo.network import MODEL_VERSION, Network, train
from driftgauge.demo.picture import draw
from driftgauge.demo.scrape import Scrape
from driftgauge.demo.service_process import ServiceProcess
from driftgauge.demo.stage import EVENTS_TOPIC, TOPICS, commit_beginnings, write_config
from driftgauge.errors import ConfigError, DemoError
from driftgauge.events.timestamps import format_timestamp, parse_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from driftgauge.kafka.publisher import Publication, publish

__all__ = ["tell"]

_SEED = 0
_STREAM = "digits"
_WINDOW = "1d"
_CLUSTERS = 10
_REFERENCE_REUSES = 10
_FIRST_DAY_MS = parse_timestamp("2025-11-03T00:00:00Z")
_DAYS_PER_WEEK = 7
_EVENTS_PER_DAY = 1_000
# Events a second: far below what the service reads, so that nothing is dropped before it is read.
_RATE = 2_000.0
_DISORDER_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Sent:
    """A day that has been published."""

    start_ms: int
    condition: Condition
    published: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class _Model:
    """What makes events: the network, and the images that it is shown."""

    network: Network
    traffic: Images
    rng: np.random.Generator


def tell(out: Path, *, keep: bool) -> None:
    """Tell the story, and write what belongs to it into the folder `out`.

    Args:
        out: Gets the configuration, the baseline, the service's log, its last metrics, the picture.
        keep: Keep the service running with fresh traffic afterwards, until interrupted.

    Raises:
        ConfigError: The folder cannot be made.
        DemoError: The story did not come true, or the service failed.
        BrokerError: The embedded broker failed.
    """
    # A supervisor's signal must take the service along, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started_s = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{out}: cannot make the folder: {error.strerror}; name another with --out"
        raise ConfigError(message) from error

    click.echo("Splitting 1,797 handwritten digits: a third to train, a third as reference, a third as traffic.")
    split = split_digits(_SEED)
    click.echo("Training a small network; its hidden layer gives the embeddings, 32 floats each.")
    model = _Model(train(split.training, _SEED), split.traffic, np.random.default_rng(_SEED))
    streams = [_watch(_fit(model, split.reference), out, window=_WINDOW, disorder="1h")]
    click.echo(f"Fitted a baseline of {_CLUSTERS} clusters: {out / _STREAM}.safetensors")
    ...
