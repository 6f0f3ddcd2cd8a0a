"""Cost of one replica by the number of replicas: `make scale`.

It simulates one replica of each role without a broker, with the service's own code, and records all its reads
and writes. There are few events, because the fixed cost is served; their cost is shown separately. Finally
real replicas on a real broker run a smaller setting, which is compared with its simulation.
"""

import argparse
from collections.abc import Mapping

from tests.bench.scale_broker import CHANGELOG, PARTIALS, serve
from tests.bench.scale_replica import build_specs
from tests.bench.scale_simulation import ScaleSetting, measure
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.core.spec import StreamSpec

STREAMS, SHARDS = 1_000, 64
PROCESSOR = (
    "COUNT: events, ms",
    "COUNT: besides events, ms",
    "WINDOWS: decode and apply, ms",
    "WINDOWS: event time, ms",
    "WINDOWS: write and show, ms",
)


def print_table(found: Mapping[ScaleSetting, Mapping[str, float]]) -> None:
    """Print every figure and, in brackets, figures share of the first setting's."""
    first, *_ = found.values()
    say(f"{'':34}" + "".join(f"{f'R={each.replicas} S={each.shards}':>20}" for each in found))
    for name in first:
        cells = [
            f"{figures[name]:,.{1 if figures[name] < 100 else 0}f} ({ratio(first[name], figures[name])})"
            for figures in found.values()
        ]
        say(f"{name:34}" + "".join(f"{cell:>20}" for cell in cells))


def ratio(first: float, other: float) -> str:
    return f"1/{first / other:.1f}" if other else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one replica of each role.")
    parser.add_argument("--partitions", type=int, default=500, help="of the events topic (default: 500)")
    parser.add_argument("--no-broker", action="store_true", help="omit the run on a real broker")
    options = parser.parse_args()
    specs = build_specs(STREAMS)
    settings = [
        ScaleSetting(STREAMS, options.partitions, *each)
        for each in ((1, SHARDS), (10, SHARDS), (50, SHARDS), (50, 16))
    ]
    with threadpool_limits(1):
        say(f"{STREAMS:,} streams, {options.partitions} partitions, an event a stream and second")
        say("of one replica a second, unless noted; in brackets the share of R=1")
        print_table({setting: measure(setting, specs) for setting in settings})
        if not options.no_broker:
            compare(ScaleSetting(200, 24, 2, 8), specs)


def compare(setting: ScaleSetting, specs: list[StreamSpec]) -> None:
    """Print the figures of real replicas on a real broker, as multiples of the simulated ones."""
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
    say("of one replica; processor a second, all else a commit")
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
