"""How fast events are read, by encoding and dimension, beside other engines: `make inputs`.

Every engine reads all events of the same topics on a real broker, each in a process of its own, in turns
within one run. Measured is the processor time an event of the whole process, librdkafka's threads included,
and wall time. The service runs as in production: both roles, transactions, all statistics, windows of an hour
and a day. `tests/bench/README.md` says what each engine does.

A full run needs about 10 GB of disk in the temporary folder.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.input_case import Case, prepare
from tests.bench.input_engines import QUIX_JOBS, quix_python, run_consumers, run_quix, run_service
from tests.bench.input_framed import FRAMED
from tests.bench.input_values import ENCODINGS
from tests.harness.broker import Broker
from tests.harness.registry import Registry
from tests.output import say

Engines = Mapping[str, Sequence[Mapping[str, float]]]
"""The runs of each engine."""

Runs = Mapping[Case, Engines]
"""The runs of each engine by case."""

OWN = "driftgauge"


def tables(runs: Runs) -> str:
    """Return tables in Markdown of processor time, its ratio to the service's, rate and memory."""

    def spent(engines: Engines, name: str) -> str:
        values = [run["processor"] for run in engines[name]]
        return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"

    def ratio(engines: Engines, name: str) -> str:
        return f"{median(engines, name, 'processor') / median(engines, OWN, 'processor'):.2f}"

    def rate(engines: Engines, name: str) -> str:
        return f"{1e6 / median(engines, name, 'wall'):,.0f}"

    def fixed(engines: Engines, name: str) -> str:
        return f"{median(engines, name, 'fixed'):.0f}" if "fixed" in engines[name][0] else ""

    def memory(engines: Engines, name: str) -> str:
        return f"{max(run['memory'] for run in engines[name]):.0f}" if "memory" in engines[name][0] else ""

    return "\n\n".join(
        [
            _table("processor time an event, us: median [least, most]", runs, spent),
            _table(f"the same over {OWN}'s", runs, ratio),
            _table("events a second of wall time", runs, rate),
            _table("processor time a second without events, ms", runs, fixed),
            _table("memory, MiB", runs, memory),
        ]
    )


def median(engines: Engines, name: str, measure: str) -> float:
    return statistics.median(run[measure] for run in engines[name])


def _table(title: str, runs: Runs, cell: Callable[[Engines, str], str]) -> str:
    names = list(dict.fromkeys(name for engines in runs.values() for name in engines))
    lines = [f"| {title} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for case, engines in runs.items():
        cells = [cell(engines, name) if name in engines else "" for name in names]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


ALL = [*ENCODINGS, *FRAMED]
# With fewer, an engine's windows would hold too few events for their opening and closing to weigh little.
FEWEST_EVENTS = 80_000
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "driftgauge"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encodings", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--dimensions", nargs="+", type=int, default=[128, 512], help="default: 128 512")
    parser.add_argument("--rounds", type=int, default=2, help="turns of every engine (default: 2)")
    parser.add_argument("--events", type=int, default=300_000, help="of every case (default: 300,000)")
    parser.add_argument("--no-quix", action="store_true", help="leave quix-streams out")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, to compare with")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"for environments (default: {CACHE})")
    options = parser.parse_args()
    if not options.no_quix and options.events < FEWEST_EVENTS:
        parser.error(f"beside quix-streams at least {FEWEST_EVENTS:,} events are compared")
    return options


def main() -> None:
    options = parse()
    quix = None if options.no_quix else quix_python(options.cache)
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry = None
        if FRAMED.keys() & set(options.encodings):
            registry = stack.enter_context(Registry()).url
        cases = [
            Case(encoding, dimension, options.events, folder, registry, options.before)
            for dimension in options.dimensions
            for encoding in options.encodings
        ]
        prepare(broker.bootstrap, cases)
        runs: dict[Case, dict[str, list]] = {case: {} for case in cases}
        for number in range(options.rounds):
            for case in cases:
                measure(broker.bootstrap, case, number, quix, runs[case])
            say(f"\nRound {number + 1} of {options.rounds}\n\n{tables(runs)}")


def measure(bootstrap: str, case: Case, run: int, quix: Path | None, engines: dict[str, list]) -> None:
    found = run_consumers(bootstrap, case)
    found[OWN] = run_service(bootstrap, case, run)
    if case.before is not None:
        found[f"{OWN} before"] = run_service(bootstrap, case, run, is_before=True)
    if quix is not None and not case.is_framed:
        found |= {engine: run_quix(quix, bootstrap, case, engine, run) for engine in QUIX_JOBS}
    for name, spent in found.items():
        engines.setdefault(name, []).append(spent)
    times = ", ".join(f"{name} {spent['processor']:.1f}" for name, spent in found.items())
    say(f"{case.title}, us of processor time an event: {times}")


if __name__ == "__main__":
    main()
