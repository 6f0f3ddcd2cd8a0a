"""What WINDOWS does with a burst of panes: `make bursts SCENARIO=panes`, 10 to 30 minutes each.

A real broker, one replica of both roles, and Prometheus with the shipped rules. The scenarios:

    panes    200,000 windows of a minute and 139 of a day wait behind a partition, and are then released
    days     576,000 windows of a minute, 400 days, close as they are read
    outage   the last 24 hours of 200 streams, windows of a minute with five events each
    slow     60,000 windows of a minute, brokers slowed until an alert fires, then less so

A line every half minute shows progress. At the end stand the time, the most memory, the alerts, and
whether the published windows hold each event once.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from tests.bench.workload import Publisher, draw_vectors, processor_s, save_fitted, write_config
from tests.builders.clocks import MINUTE_MS
from tests.deploy.servers import RULES, Prometheus, load
from tests.harness.broker import Broker
from tests.harness.relay import Relay
from tests.harness.service import ReplicaProcess
from tests.harness.topics import read
from tests.options import parse_options
from tests.output import say

from driftgauge.core.durations import parse_duration
from driftgauge.events.timestamps import format_timestamp

EVENTS, RESULTS = "burst.events", "burst.windows"
LEAST_EVENTS = 5


@dataclass(frozen=True)
class Scenario:
    """A burst.

    Attributes:
        streams: The number of streams.
        minutes: The minutes of event time.
        events: The events of each stream and minute.
        windows: The window sizes.
        is_held: Whether one partition holds the watermark until all are counted.
        is_slow: Whether the connection to the broker is slowed.
    """

    streams: int = 1
    minutes: int = 200_000
    events: int = 1
    windows: tuple[str, ...] = ("1m",)
    is_held: bool = False
    is_slow: bool = False

    @property
    def partitions(self) -> int:
        """Enough for the load; the last one holds the watermark in a burst that is held."""
        return 4 if self.streams > 1 else 1 + self.is_held

    def expected(self, start_ms: int) -> int:
        """Return the number of windows that hold events, all of which close."""
        last_ms = start_ms + (self.minutes - 1) * MINUTE_MS
        sizes = [parse_duration(each) for each in self.windows]
        return self.streams * sum(last_ms // size_ms - start_ms // size_ms + 1 for size_ms in sizes)


SCENARIOS = {
    "panes": Scenario(windows=("1m", "1d"), is_held=True),
    "days": Scenario(minutes=576_000),
    "outage": Scenario(streams=200, minutes=24 * 60, events=LEAST_EVENTS),
    "slow": Scenario(minutes=60_000, is_slow=True),
}


class Burst:
    """The events of a scenario on a broker, each vector near a centre of the baseline.

    Attributes:
        start_ms: The time of the first event.
        sent: The number of events up to `end_ms`.
        config: The configuration of the replicas.
    """

    def __init__(
        self, bootstrap: str, scenario: Scenario, folder: Path, clusters: int, **settings: object
    ) -> None:
        """Write the configuration, with further settings, for a service that reads from this address."""
        self.scenario = scenario
        vectors = draw_vectors(16, clusters, 20_000)
        save_fitted(vectors, "s0", folder / "s.safetensors", clusters)
        self._vectors = [np.round(each, 3).tolist() for each in vectors[:2_000].astype(float)]
        # It ends before now with its last window of the longest size.
        size_ms = max(parse_duration(each) for each in scenario.windows)
        start_ms = time.time_ns() // 1_000_000 - (scenario.minutes + 5) * MINUTE_MS - size_ms
        self.start_ms = start_ms // size_ms * size_ms
        stream = {"match": "s*", "most": scenario.streams, "baseline": "s.safetensors"}
        stream |= {"windows": scenario.windows, "min_events": LEAST_EVENTS, "idle_timeout": "5s"}
        self.config = write_config(
            folder, bootstrap, "burst", EVENTS, stream, scenario.partitions, **settings
        )
        self.sent = 0
        self._publisher = Publisher(bootstrap, EVENTS)

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.scenario.minutes * MINUTE_MS

    def publish(self) -> None:
        """Publish the burst, in the order of event time."""
        scenario = self.scenario
        if scenario.is_held:
            self.hold()
        for time_ms in range(self.start_ms, self.end_ms, MINUTE_MS):
            for stream in range(scenario.streams):
                for event in range(scenario.events):
                    self.send(stream, time_ms + event)
            if scenario.is_held and time_ms % (1_000 * MINUTE_MS) == 0:
                self.hold()
        if not scenario.is_held:
            self.pass_end()
        self._publisher.flush()
        say(f"published: {self.sent:,} events")

    def hold(self) -> None:
        """Publish an event of the first minute to the last partition."""
        self.send(0, self.start_ms, self.scenario.partitions - 1)

    def pass_end(self) -> None:
        """Publish an event of each stream, two minutes after the end."""
        for stream in range(self.scenario.streams):
            at = self.scenario.partitions - 1 if self.scenario.is_held else None
            self.send(stream, self.end_ms + 2 * MINUTE_MS, at)
        self.sent -= self.scenario.streams
        self._publisher.flush()

    def send(self, stream: int, time_ms: int, partition: int | None = None) -> None:
        """Publish an event of a stream, to its partition unless another is named."""
        vector = self._vectors[self.sent % len(self._vectors)]
        self.sent += 1
        event = orjson.dumps({"stream": f"s{stream}", "timestamp": time_ms, "embedding": vector})
        if partition is None:
            partition = stream % max(self.scenario.partitions - self.scenario.is_held, 1)
        self._publisher.send(event, partition=partition)


class Observed:
    """What is seen of a run, second by second.

    Attributes:
        closed: The number of closed windows.
        panes: The panes in memory.
        firing: Since which second each alert has fired.
        peak_mib: The most memory that the replica has held.
    """

    def __init__(self, replica: ReplicaProcess, prometheus: Prometheus) -> None:
        self._replica, self._prometheus = replica, prometheus
        self._began_s = self._said_s = time.monotonic()
        self.closed = self.panes = self.counted = 0
        self.firing: dict[str, float] = {}
        self.peak_mib = 0

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._began_s

    def sample(self) -> None:
        """Read metrics, memory and alerts; print a line now and then."""
        metrics = ("windows_closed_total", "shard_panes", "events_total")
        scrape = self._replica.scrape()
        self.closed, self.panes, self.counted = (int(scrape.total(f"driftgauge_{each}")) for each in metrics)
        self.peak_mib = read_status(self._replica.pid, "VmHWM") // 1024
        for alert in self._prometheus.alerts():
            if alert["state"] == "firing":
                labels = alert["labels"]
                name = " ".join(filter(None, (labels["alertname"], labels.get("reason"), labels["severity"])))
                self.firing.setdefault(name, self.seconds)
        if time.monotonic() - self._said_s >= 30.0:
            self._said_s = time.monotonic()
            say(
                f"{self.seconds:5.0f} s: {self.counted:,} counted, {self.panes:,} panes, {self.closed:,} "
                f"closed, {self.peak_mib} MiB at most"
            )

    def until(self, what: str, is_met: Callable[[], bool]) -> float:
        """Sample until the condition is met, and return the seconds that it took."""
        began_s = self.seconds
        while not is_met():
            time.sleep(5.0)
            self.sample()
            assert self.seconds - began_s < 3_600.0, what
        say(f"{self.seconds:5.0f} s: {what}")
        return self.seconds - began_s


def read_status(pid: int, field: str) -> int:
    """Return a number of the status of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0])


def check(bootstrap: str, burst: Burst, expected: int) -> str:
    """Return what the published windows hold, compared with what was published."""
    newest: dict[tuple[str, str, str], tuple[int, int]] = {}
    verdicts: Counter[str] = Counter()
    twice = 0
    first, last = format_timestamp(burst.start_ms), format_timestamp(burst.end_ms)
    for message in read(bootstrap, RESULTS, within_s=600):
        result = orjson.loads(message.value() or b"")
        if not first <= result["start"] < last:
            continue
        key = result["stream"], result["window"], result["start"]
        twice += key in newest and newest[key][0] == result["revision"]
        newest[key] = result["revision"], result["count"]
        verdicts[result["verdict"]] += 1
    finest = burst.scenario.windows[0]
    counted = sum(count for (_, size, _), (_, count) in newest.items() if size == finest)
    whole = "exact" if (counted, len(newest), twice) == (burst.sent, expected, 0) else "NOT EXACT"
    return (
        f"{whole}: {len(newest):,} of {expected:,} windows, {counted:,} of {burst.sent:,} events, "
        f"{twice} published twice; {dict(verdicts)}"
    )


def main() -> None:
    # The clusters of the baseline, and the share of the scenario's minutes.
    options = parse_options(__doc__, part=SCENARIOS, clusters=8, share=1.0)
    scenario = SCENARIOS[options.part]
    scenario = replace(scenario, minutes=int(scenario.minutes * options.share))
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        broker = running.enter_context(Broker())
        relay = running.enter_context(Relay(broker.bootstrap))
        burst = Burst(relay.bootstrap, scenario, folder, options.clusters)
        if not scenario.is_held:
            burst.publish()
        replica = running.enter_context(ReplicaProcess(burst.config, folder / "replica.log"))
        replica.wait_until_ready(within_s=120)
        rules = {path.name: load(path) for path in RULES}
        targets = [f"127.0.0.1:{replica.port}"]
        prometheus = running.enter_context(Prometheus(folder, targets, rules, every="15s"))
        observed = Observed(replica, prometheus)
        play(burst, observed, relay, replica.pid)
        fired = ", ".join(f"{name} at {at_s:.0f} s" for name, at_s in observed.firing.items())
        say(f"memory at most {observed.peak_mib} MiB; alerts: {fired or 'none'}")
        say(check(broker.bootstrap, burst, scenario.expected(burst.start_ms)))
        say(f"the replica stopped in {replica.stop():.1f} s")


def play(burst: Burst, observed: Observed, relay: Relay, pid: int) -> None:
    """Drive a scenario to its end."""
    scenario = burst.scenario
    expected = scenario.expected(burst.start_ms)
    if scenario.is_held:
        burst.publish()

        def all_wait() -> bool:
            burst.hold()
            return observed.panes >= scenario.minutes

        observed.until(f"{scenario.minutes:,} panes wait", all_wait)
        say(f"memory {observed.peak_mib} MiB")
        burst.pass_end()
    elif scenario.streams > 1:
        observed.until(f"{burst.sent:,} events counted", lambda: observed.counted >= burst.sent)
    if scenario.is_slow:
        # At this rate no round fits its time, whatever its bound; at the second those fit that are small.
        relay.slow_to(3_000)
        observed.until("the alert fires", lambda: any("CommitsFailing" in each for each in observed.firing))
        relay.slow_to(300_000)
    used_s, closed = processor_s(pid), observed.closed
    took_s = observed.until(f"{expected:,} windows closed", lambda: observed.closed >= expected)
    closed, used_s = expected - closed, processor_s(pid) - used_s
    say(
        f"{closed:,} windows in {took_s:.0f} s: {closed / took_s:.0f} a second, "
        f"{closed / used_s:.0f} a second of processor time"
    )


if __name__ == "__main__":
    main()
