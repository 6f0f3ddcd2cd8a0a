"""What one replica costs, and how that falls with the number of replicas: `python tests/bench/scale.py`.

One replica of each role is simulated without a broker, by the service's own code, and all that it reads and
writes is counted. Events are few, for the cost besides them is asked for; what they take is shown apart. At
last real replicas and a real broker do a smaller setting, and the simulation of it is compared with them.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.scale_broker import CHANGELOG, PARTIALS, serve  # noqa: E402
from tests.bench.scale_replica import build_numbered_reference, build_specs  # noqa: E402
from tests.bench.scale_simulation import ScaleSetting, measure, trace  # noqa: E402

from driftgauge.core.spec import StreamSpec  # noqa: E402

STREAMS, PARTITIONS, SHARDS = 1_000, 500, 64
PROCESSOR = (
    "COUNT: events, ms",
    "COUNT: besides events, ms",
    "WINDOWS: decode and apply, ms",
    "WINDOWS: event time, ms",
    "WINDOWS: write and show, ms",
)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_table(found: Mapping[ScaleSetting, Mapping[str, float]]) -> None:
    """Say every figure, and the first setting's as a multiple of it."""
    first, *_ = found.values()
    say(f"{'':34}" + "".join(f"{f'R={each.replicas} S={each.shards}':>20}" for each in found))
    for name in first:
        cells = [
            f"{its[name]:,.{1 if its[name] < 100 else 0}f} ({ratio(first[name], its[name])})"
            for its in found.values()
        ]
        say(f"{name:34}" + "".join(f"{cell:>20}" for cell in cells))


def say_constant(one: Mapping[str, float], many: Mapping[str, float]) -> None:
    """Say which figures hardly fall."""
    constant = [name for name in one if many[name] > one[name] / 5]
    say(f"hardly falls with the number of replicas: {', '.join(constant)}")


def ratio(first: float, its: float) -> str:
    return f"1/{first / its:.1f}" if its else "-"


def say_law(one: ScaleSetting, many: ScaleSetting, found: Mapping[ScaleSetting, Mapping[str, float]]) -> None:
    """Say what of a progress record's cost is the record's and what its partitions', from two settings."""
    for name in ("COUNT: besides events, ms", "WINDOWS: decode and apply, ms"):
        costs, rows = [], []
        for setting in (one, many):
            its = found[setting]
            is_count = name.startswith("COUNT")
            records = setting.shards if is_count else its["WINDOWS: shards held"] * setting.replicas
            costs.append(its[name] * 1e3 / records)
            rows.append(setting.partitions / setting.replicas)
        each = (costs[0] - costs[1]) / (rows[0] - rows[1])
        say(f"{name[:-4]}: {costs[1] - each * rows[1]:.0f} us a record, and {each:.2f} us a partition in it")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one replica of each role.")
    parser.add_argument("--no-broker", action="store_true", help="leave the run on a real broker out")
    without_broker = parser.parse_args().no_broker
    specs = build_specs(STREAMS)
    settings = [
        ScaleSetting(STREAMS, PARTITIONS, *each)
        for each in ((1, SHARDS), (10, SHARDS), (50, SHARDS), (50, 16))
    ]
    with threadpool_limits(1):
        say(f"{STREAMS:,} streams, {PARTITIONS} partitions, an event a stream and second")
        say("of one replica, a second, unless it says otherwise; in brackets as a share of R=1")
        found = {setting: measure(setting, specs) for setting in settings}
        say_table(found)
        say_constant(found[settings[0]], found[settings[2]])
        say_law(settings[0], settings[2], found)
        held = trace(lambda: [build_numbered_reference(number, 128) for number in range(20)])[0] / 20 * 1024
        say(f"in every replica, however many there are: each stream's baseline, {held:.0f} KiB (128 numbers)")
        say("the old design: 6,000 to 9,000 ms of processor and 32,000 kB read in every replica")
        if not without_broker:
            compare(ScaleSetting(200, 24, 2, 8), specs)


def compare(setting: ScaleSetting, specs: list[StreamSpec]) -> None:
    """Say what real replicas do on a real broker, as a multiple of what the simulation of them says."""
    simulated = measure(setting, specs)
    served = serve(
        specs[: setting.streams],
        partitions=setting.partitions,
        replicas=setting.replicas,
        shards=setting.shards,
        rate=setting.rate,
    )
    say(
        f"{setting.streams} streams, {setting.partitions} partitions, R={setting.replicas} S={setting.shards}"
    )
    say("of one replica; the processor by the second, all else by the commit")
    pairs = {
        "partials written": (served.records[PARTIALS], simulated["COUNT: partials written"]),
        "partials written, kB": (served.bytes[PARTIALS] / 1e3, simulated["COUNT: partials written, kB"]),
        "changelog written": (served.records[CHANGELOG], simulated["WINDOWS: changelog written"]),
        "changelog written, kB": (served.bytes[CHANGELOG] / 1e3, simulated["WINDOWS: changelog written, kB"]),
        "processor, ms": (served.busy_ms, sum(simulated[name] for name in PROCESSOR)),
    }
    for name, (real, expected) in pairs.items():
        say(f"{name:34} on a broker {real:10,.1f}, simulated {expected:10,.1f}: times {real / expected:.2f}")
    say(f"{'commits a second':34} on a broker {served.commits:10,.2f}, simulated       1.00")
    say(f"{'processor without events, ms':34} on a broker {served.quiet_ms:10,.1f}")


if __name__ == "__main__":
    main()
