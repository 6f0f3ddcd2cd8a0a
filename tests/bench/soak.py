"""Two hours in which 30 days of event time pass: `make soak`.

A real broker and one replica of both roles, which is asked for metrics and pages every ten seconds. In the
first hour it is stopped, killed and started again in turn; in the second it is left alone. Of the second hour
are told the slope of the resident memory with its upper 95 % limit, and the least and most of descriptors,
threads and keys of the changelog; then whether the windows hold each event once. Status 1: the slope's limit
is at or above .02 MiB a minute, or the counts are not exact.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.stats import linregress, t
from tests.bench.bursts import RESULTS, Burst, Scenario, check, read_status
from tests.bench.workload import resident_mib
from tests.builders.clocks import DAY_MS, MINUTE_MS
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.harness.topics import read
from tests.options import parse_options
from tests.output import say
from tests.waiting import wait_for

LINE_EVERY = 30  # samples: every five minutes
# Each fiftieth event comes so far behind the others, within the allowed lateness of ten minutes.
LATE_MS = 8 * MINUTE_MS


Sample = dict[str, float]
"""What a replica holds at a time.

minute: Minutes since the start. mib: Its resident memory, MiB. descriptors: Its open files and sockets.
threads: Its threads. keys: The live keys of the changelog.
"""


class Soak:
    """A run: publishes events at their pace, restarts the replica, samples it."""

    def __init__(self, burst: Burst, bootstrap: str, folder: Path, minutes: float) -> None:
        self._burst, self._bootstrap, self._folder = burst, bootstrap, folder
        self._seconds = 60 * minutes
        self._replicas = 0
        self._next_ms = burst.start_ms
        self._began_s = time.monotonic()
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Publish all events, and sample every ten seconds; restart in the first half."""
        restarts = [self._seconds / 2 * number / 7 for number in range(1, 7)]
        replica = self._start()
        try:
            while self._next_ms < self._burst.end_ms:
                if restarts and self._passed_s >= restarts[0]:
                    restarts.pop(0)
                    replica.kill() if len(restarts) % 2 else replica.stop()
                    replica = self._start()
                self._publish()
                self._sample(replica)
            self._burst.pass_end()
            expected = self._burst.scenario.expected(self._burst.start_ms)
            wait_for("all windows closed", lambda: self._closed() >= expected, within_s=600)
            say(f"the replica stopped in {replica.stop():.1f} s")
        finally:
            replica.kill()

    @property
    def _passed_s(self) -> float:
        return time.monotonic() - self._began_s

    def _start(self) -> ReplicaProcess:
        self._replicas += 1
        replica = ReplicaProcess(self._burst.config, self._folder / f"replica-{self._replicas}.log")
        replica.wait_until_ready(within_s=120)
        return replica

    def _publish(self) -> None:
        """Publish until the next sample is due, each minute of event time at its time."""
        burst, due_s = self._burst, self._passed_s + 10.0
        while self._passed_s < due_s and self._next_ms < burst.end_ms:
            share = (self._next_ms - burst.start_ms) / (burst.end_ms - burst.start_ms)
            time.sleep(max(share * self._seconds - self._passed_s, 0))
            for stream in range(burst.scenario.streams):
                is_late = burst.sent % 50 == 0 and self._next_ms - LATE_MS >= burst.start_ms
                burst.send(stream, self._next_ms - is_late * LATE_MS)
            self._next_ms += MINUTE_MS

    def _sample(self, replica: ReplicaProcess) -> None:
        for path in ("/", "/?stream=s0", "/api/v1/streams", "/metrics"):
            status, _ = replica.get(path)
            # No stream is known before its first window closed.
            if status != 200 and self.samples:
                sys.exit(f"{path} answered with {status}")
        sample: Sample = {
            "minute": self._passed_s / 60,
            "mib": resident_mib(replica.pid),
            "descriptors": len(list(Path(f"/proc/{replica.pid}/fd").iterdir())),
            "threads": read_status(replica.pid, "Threads"),
            "keys": self._count_keys(),
        }
        self.samples.append(sample)
        if len(self.samples) % LINE_EVERY == 1:
            say(
                f"{sample['minute']:5.1f} min: {self._burst.sent:,} events, {sample['mib']:.1f} MiB, "
                f"{sample['descriptors']} descriptors, {sample['threads']} threads, {sample['keys']} keys"
            )

    def _count_keys(self) -> float:
        """Return the live keys of the changelog, as counted with every so many samples."""
        if len(self.samples) % LINE_EVERY:
            return self.samples[-1]["keys"]
        records = read(self._bootstrap, "driftgauge.burst.changelog.16")
        keys = {(record.partition(), record.key()): record.value() is not None for record in records}
        return sum(keys.values())

    def _closed(self) -> int:
        results = (orjson.loads(each.value() or b"") for each in read(self._bootstrap, RESULTS))
        return len({(each["stream"], each["window"], each["start"]) for each in results})


def slope(minutes: NDArray[np.float64], mib: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of the means of blocks of five minutes, MiB a minute, and its upper 95 % limit.

    Samples in a row depend on each other; such means hardly do.
    """
    blocks = (minutes // 5).astype(int)
    at, means = (
        np.array([each[blocks == block].mean() for block in np.unique(blocks)]) for each in (minutes, mib)
    )
    fit = linregress(at, means)
    return float(fit.slope), float(fit.slope + t.ppf(0.95, len(at) - 2) * fit.stderr)


def draw(samples: list[Sample], half: float) -> str:
    """Return a picture of the resident memory over the run, SVG, the half without restarts shaded."""
    last, most = samples[-1]["minute"], max(each["mib"] for each in samples) * 1.1
    points = " ".join(
        f"{60 + 620 * each['minute'] / last:.1f},{210 - 190 * each['mib'] / most:.1f}" for each in samples
    )
    levels = "".join(
        f'<text x="52" y="{214 - 190 * level / most:.0f}" text-anchor="end">{level:.0f}</text>'
        for level in np.linspace(0, most // 10 * 10, 4)
    )
    times = "".join(
        f'<text x="{60 + 620 * share:.0f}" y="228" text-anchor="middle">{share * last:.0f}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 250" font-family="sans-serif" '
        'font-size="12" fill="#444" role="img"><title>Resident memory of a replica during the soak</title>'
        f'<rect width="700" height="250" fill="#fff"/><rect x="{60 + 620 * half / last:.0f}" y="20" '
        f'width="{620 * (1 - half / last):.0f}" height="190" fill="#eef3fa"/>'
        f'<polyline points="{points}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>{levels}{times}'
        '<text x="60" y="14">MiB, by minutes; shaded: without restarts</text></svg>\n'
    )


def report(samples: list[Sample], half: float) -> bool:
    """Print what the samples after the restarts show; return whether memory is level."""
    later = [each for each in samples if each["minute"] >= half]
    minutes, mib = (np.array([each[name] for each in later]) for name in ("minute", "mib"))
    rises, limit = slope(minutes, mib)
    say(f"resident memory: {rises:+.4f} MiB a minute, at most {limit:+.4f} (95 %); most {mib.max():.0f} MiB")
    for name in ("descriptors", "threads", "keys"):
        values = [each[name] for each in later]
        say(f"{name}: {min(values)} to {max(values)}; at first {values[0]}, at last {values[-1]}")
    return limit < 0.02


def main() -> None:
    # The course of the memory becomes an SVG file of this name.
    options = parse_options(__doc__, minutes=120.0, picture="")
    scenario = Scenario(streams=10, minutes=30 * DAY_MS // MINUTE_MS, windows=("1h", "1d"))
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        broker = running.enter_context(Broker())
        # The page has as many windows throughout the second half as it ever has.
        page = {"history": f"{round(10 * options.minutes)}s"}
        burst = Burst(broker.bootstrap, scenario, folder, clusters=8, page=page)
        soak = Soak(burst, broker.bootstrap, folder, options.minutes)
        soak.run()
        if options.picture:
            Path(options.picture).write_text(draw(soak.samples, options.minutes / 2))
        is_level = report(soak.samples, options.minutes / 2)
        counts = check(broker.bootstrap, burst, scenario.expected(burst.start_ms))
        say(counts)
    sys.exit(not is_level or not counts.startswith("exact"))


if __name__ == "__main__":
    main()
