"""What one replica costs, and how that falls with the number of replicas: `python tests/bench/scale.py`.

One replica of each role is simulated without a broker, by the service's own code, and everything it would
read and write is counted. Events are few, for it is the cost besides them that is asked for, and what
counting them takes is shown apart. With --broker real replicas and a real broker do a smaller setting as well,
and are compared with the simulation of it.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.scale_replica import (  # noqa: E402
    DIMENSION,
    SECOND_MS,
    START_MS,
    CountReplica,
    Spent,
    WindowsReplica,
    build_specs,
)

from driftgauge.core.counting.batch import EventBatch  # noqa: E402
from driftgauge.core.spec import StreamSpec  # noqa: E402

# A window waits for the partitions that are not idle yet, so the first minute's is closed after some 150 s.
WARM_STEPS, WARM_STEP_MS = 16, 10 * SECOND_MS
MEASURED_S = 5
# The next one's after some 210 s.
CLOSING_STEPS = 6
# The old design, by pairs of stream and source partition, in every replica, a second (the middle of what was measured).
OLD_PAIR_S, OLD_PAIR_BYTES = 15e-6, 64


@dataclass(frozen=True)
class Setting:
    streams: int
    partitions: int
    replicas: int
    shards: int
    """Events of each stream, a second."""
    rate: int = 1


class Simulation:
    """All count replicas, and the window replica that holds the most shards."""

    def __init__(self, setting: Setting, specs: list[StreamSpec]) -> None:
        self.setting = setting
        self._random = np.random.default_rng(1)
        self._specs = specs[: setting.streams]
        replicas, shards = setting.replicas, setting.shards
        self.counting = [
            CountReplica(
                self._specs,
                range(number, setting.partitions, replicas),
                setting.partitions,
                shards,
                number,
            )
            for number in range(replicas)
        ]
        self.windows = WindowsReplica(self._specs, range(-(-shards // replicas)), shards)
        self._now_ms = START_MS
        self._offsets = np.zeros(setting.partitions, np.int64)

    def step(self, step_ms: int) -> int:
        """Let events come, count and commit them, close and commit; return the windows published."""
        self._now_ms += step_ms
        batches = self._read(step_ms)
        for number, replica in enumerate(self.counting):
            replica.count(batches[number], self._now_ms)
            # One count replica writes for all shards; of the others only what is read here is needed.
            wanted = self.windows.states if number else range(self.setting.shards)
            self.windows.take(replica.commit(self._now_ms, wanted), self._now_ms)
        return self.windows.commit(self._now_ms)

    def _read(self, step_ms: int) -> list[list[EventBatch]]:
        """Return each count replica's batches: every stream's events of a step, spread over the partitions."""
        batches: list[list[EventBatch]] = [[] for _ in self.counting]
        number = self.setting.rate * step_ms // SECOND_MS
        for spec in self._specs:
            places = self._random.integers(self.setting.partitions, size=number)
            for replica in np.unique(places % self.setting.replicas).tolist():
                mine = places[places % self.setting.replicas == replica]
                times_ms = self._now_ms - self._random.integers(step_ms, size=len(mine))
                batches[replica].append(
                    EventBatch(
                        stream=spec.name,
                        baseline=spec.baselines[0].reference.key,
                        row=np.arange(len(mine)),
                        partition=(mine // self.setting.replicas).astype(np.int32),
                        offset=self._offsets[mine],
                        time_ms=times_ms,
                        credible_ms=times_ms,
                        vectors=self._random.standard_normal((len(mine), DIMENSION), np.float32),
                    )
                )
                self._offsets[mine] += 1
        return batches


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one replica of each role.")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=500)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    specs = build_specs(given.streams)
    import time

    with threadpool_limits(1):
        for replicas, shards in ((1, 64), (10, 64), (50, 64), (50, 16)):
            t = time.time()
            simulation = Simulation(Setting(given.streams, given.partitions, replicas, shards), specs)
            for _ in range(WARM_STEPS):
                published = simulation.step(WARM_STEP_MS)
                print(published, end=" ")
            simulation.counting[0].spent = Spent()
            simulation.windows.spent = Spent()
            for _ in range(MEASURED_S):
                print(simulation.step(1000))
            for r in (simulation.counting[0], simulation.windows):
                print(
                    replicas,
                    shards,
                    {k: round(v / MEASURED_S * 1000, 2) for k, v in r.spent.seconds.items()},
                    {k: v / MEASURED_S for k, v in r.spent.records.items()},
                    {k: v / MEASURED_S for k, v in r.spent.bytes.items()},
                )
            print(len(simulation.windows.states), simulation.windows.streams, time.time() - t)
            n = 0
            simulation.windows.spent = Spent()
            for _ in range(CLOSING_STEPS):
                n += simulation.step(WARM_STEP_MS)
            print(n, simulation.windows.spent.seconds)
            print(
                simulation.counting[0].observe().count(b"\ndriftgauge"),
                simulation.windows.observe().count(b"\ndriftgauge"),
            )
            simulation.windows.restore()
            print(simulation.windows.spent)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
