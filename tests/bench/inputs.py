"""How fast events are read, by encoding and dimension, against other engines: `python tests/bench/inputs.py`.

Every engine reads the same topics on a real broker, each in a process of its own, in turns within one run.
Measured is the processor time an event of the whole process, librdkafka's threads included, and wall time.
The service runs as in production: both roles, transactions, all statistics, windows of an hour and a day.

- consuming: confluent-kafka's consumer, values untouched.
- floor: consuming, reading the values into a matrix, its float32 products with centroids and components.
- consumer with scikit-learn: consuming, reading, `KMeans.predict` a batch, a histogram; no windows, no
  transactions.
- quix-streams, on fewer events, without its start and end: the statistics of the service, or only its counts
  by cluster, in windows of an hour in its state; or a histogram in memory, the least that it can do.
- an earlier version of the service, in a checkout that --before names, on JSON and base64. What its base64
  takes above consuming divides what every encoding takes above consuming.

A full run needs about 15 GB of disk in the temporary folder. It takes the --minutes of its rounds (at least
one round, however long), before them about two minutes to fill the topics, and after them the profiles.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.input_case import Case, prepare  # noqa: E402
from tests.bench.input_engines import (  # noqa: E402
    QUIX_ENGINES,
    EngineError,
    quix_python,
    run_consumers,
    run_quix,
)
from tests.bench.input_framed import FRAMED  # noqa: E402
from tests.bench.input_profile import profile  # noqa: E402
from tests.bench.input_report import draw, floor_line, table  # noqa: E402
from tests.bench.input_service import run_before, run_service  # noqa: E402
from tests.bench.input_values import ENCODINGS  # noqa: E402
from tests.harness.broker import Broker  # noqa: E402
from tests.harness.registry import Registry  # noqa: E402
from tests.output import say  # noqa: E402

ALL = [*ENCODINGS, *FRAMED]
# Several seconds' worth of the service: of JSON, and of what is read faster. In fewer events its start and
# the windows that it closes would count for much.
EVENTS = {128: 600_000, 512: 300_000, 1_536: 100_000}
FAST_FACTOR = 1.5
# Raw consumption, which is subtracted from the service's time, is of all events. Other engines read a part,
# since each event costs them as much as the last.
CONSUMER_SHARE, QUIX_SHARE = 4, 20
OUT = Path("bench-out")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "driftgauge"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encodings", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--dimensions", nargs="+", type=int, default=list(EVENTS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of every engine (default: 3)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=20,
        help="of rounds, at least one (default: 20)",
    )
    parser.add_argument("--share", type=float, default=1, help="of the events, for a short run (default: 1)")
    parser.add_argument("--no-quix", action="store_true", help="leave quix-streams out")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version, to compare with")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"for environments (default: {CACHE})")
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"for the table and the picture (default: {OUT})"
    )
    return parser.parse_args()


def main() -> None:
    options = parse()
    python, reason = (None, "left out") if options.no_quix else quix_python(options.cache)
    if python is None:
        say(f"quix-streams is skipped: {reason}")
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry = None
        if FRAMED.keys() & set(options.encodings):
            registry = stack.enter_context(Registry()).url
        cases = [
            Case(
                encoding,
                dimension,
                int(events_of(encoding, dimension) * options.share),
                folder,
                registry,
                options.before,
            )
            for dimension in options.dimensions
            for encoding in options.encodings
        ]
        prepare(broker.bootstrap, cases)
        deadline = time.monotonic() + options.minutes * 60
        runs: dict[Case, dict[str, list]] = {case: {} for case in cases}
        took = 0.0
        for number in range(options.rounds):
            started = time.monotonic()
            if number and started + took > deadline:
                say(f"only {number} of {options.rounds} rounds fit into {options.minutes:g} minutes")
                break
            for case in cases:
                measure(broker.bootstrap, case, f"{number}", python, runs[case])
                if number == 0:
                    say(floor_line(case, runs[case]))
            took = time.monotonic() - started
        report = table(runs)
        say(f"\n{report}\n")
        profiles = [profile(broker.bootstrap, case, runs[case]) for case in cases]
    say("\n".join(profiles))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "inputs.md").write_text(f"{report}\n")
    (options.out / "inputs-profile.txt").write_text("\n".join(profiles) + "\n")
    draw(runs, options.out / "inputs.png")
    say(f"table, profile and picture are in {options.out}/")


def measure(bootstrap: str, case: Case, run: str, python: Path | None, engines: dict[str, list]) -> None:
    for name, spent in run_consumers(bootstrap, case, case.events // CONSUMER_SHARE).items():
        engines.setdefault(name, []).append(spent)
    engines.setdefault("service", []).append(run_service(bootstrap, case, run))
    if case.before is not None and case.is_own:
        engines.setdefault("before", []).append(run_before(bootstrap, case, run))
    if python is not None and not case.is_framed:
        for engine in QUIX_ENGINES:
            group = f"{case.topic}-{engine.replace(' ', '-')}-{run}"
            events = case.events // QUIX_SHARE
            try:
                spent = run_quix(python, bootstrap, case, engine, events, group)
            except EngineError as error:
                say(f"{case.title}, {engine}: left out of this round: {error}")
            else:
                engines.setdefault(engine, []).append(spent)


def events_of(encoding: str, dimension: int) -> float:
    """Return the number of events of a case; of a dimension not listed, as many floats as of 512."""
    events = EVENTS.get(dimension, EVENTS[512] * 512 // dimension)
    return events if encoding == "json" else events * FAST_FACTOR


if __name__ == "__main__":
    main()
