"""How fast events are read, by encoding and dimension, beside other engines: `make inputs`.

Every engine reads all events of the same topics on a real broker, each in a process of its own, in turns
within one run. Measured is the processor time an event of the whole process, librdkafka's threads included,
and wall time. The service runs as in production: both roles, transactions, all statistics, windows of an hour
and a day. The others are Kafka's client, which does not look at the values, and quix-streams.

A full run needs about 10 GB of disk in the temporary folder.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.bench.input_case import Case, prepare
from tests.bench.input_engines import Spent, quix_python, run_client, run_quix, run_service
from tests.bench.input_framed import FRAMED
from tests.bench.input_values import ENCODINGS
from tests.bench.tables import say_header, say_row
from tests.harness.broker import Broker
from tests.harness.registry import Registry
from tests.output import say

ALL = [*ENCODINGS, *FRAMED]
DIMENSIONS = (128, 512)
MEASURES = {
    "processor": "processor time an event, us: median [least, most]",
    "wall": "time an event, us",
    "fixed": "processor time a second without events, ms",
}

Runs = dict[str, list[Spent]]
"""The runs of a case by engine."""


def measure(bootstrap: str, case: Case, number: int, quix: Path | None) -> dict[str, Spent]:
    """Run each engine once."""
    found = {"client only": run_client(bootstrap, case), "driftgauge": run_service(bootstrap, case, number)}
    if quix is not None and not case.is_framed:
        found["quix-streams"] = run_quix(quix, bootstrap, case, number)
    return found


def show(measure: str, runs: Mapping[Case, Runs]) -> None:
    """Print a table of a measure."""
    engines = list(dict.fromkeys(engine for own in runs.values() for engine in own))
    say("")
    say_header(MEASURES[measure], *engines)
    for case, own in runs.items():
        cells = []
        for engine in engines:
            values = [spent[measure] for spent in own.get(engine, ()) if measure in spent]
            text = f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]" if values else ""
            cells.append(text)
        say_row(case.title, *cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encodings", nargs="+", choices=ALL, default=ALL, help="default: all")
    parser.add_argument("--rounds", type=int, default=2, help="turns of every engine (default: 2)")
    parser.add_argument(
        "--events", type=int, default=300_000, help="of a case; 80,000 at least for quix-streams (300,000)"
    )
    parser.add_argument("--no-quix", action="store_true", help="leave quix-streams out")
    options = parser.parse_args()
    quix = None if options.no_quix else quix_python()
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry = stack.enter_context(Registry()).url if FRAMED.keys() & set(options.encodings) else None
        cases = [
            Case(encoding, dimension, options.events, folder, registry)
            for dimension in DIMENSIONS
            for encoding in options.encodings
        ]
        prepare(broker.bootstrap, cases)
        runs: dict[Case, Runs] = {case: {} for case in cases}
        for number in range(options.rounds):
            for case in cases:
                for engine, spent in measure(broker.bootstrap, case, number, quix).items():
                    runs[case].setdefault(engine, []).append(spent)
                    say(f"{case.title}, {engine}: {spent['processor']:.1f} us of processor time an event")
    for name in MEASURES:
        show(name, runs)


if __name__ == "__main__":
    main()
