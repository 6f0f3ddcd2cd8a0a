"""`make simulate`: draw plans for a while, check each, and shrink what is found to a test."""

import argparse
import logging
import sys
from collections import Counter
from itertools import combinations, count
from time import process_time

from tests.builders.clocks import DAY_MS
from tests.output import say
from tests.simulation.checking import as_test, check, finder, shrink
from tests.simulation.plan import PAIRS, draw

_RARE = 20
_SHRINK_S = 120.0
_TOLD_RUNS = 50


def simulate(seconds: float, first_seed: int, *, is_first: bool) -> int:
    """Check plans for seconds of processor time, or up to the first finding; return how many there are."""
    began_s = process_time()
    simulated_ms = findings = 0
    pairs: Counter[tuple[str, ...]] = Counter(dict.fromkeys(PAIRS, 0))
    for number, seed in enumerate(count(first_seed), start=1):
        plan, find = draw(seed), finder(seed)
        pairs.update(combinations(sorted(plan.features), 2))
        try:
            simulated_ms += check(plan, seed)
        except Exception:  # noqa: BLE001 - an error of the service is a finding as well
            findings += 1
            if is_first:
                say(f"SEED={seed}: {find(plan)}")
                break
            say(f"Finding with SEED={seed}: {find(plan)}\n\n{as_test(shrink(plan, find, _SHRINK_S))}")
        hours = (process_time() - began_s) / 3600
        is_over = hours * 3600 >= seconds
        if is_over or number % _TOLD_RUNS == 0:
            days = simulated_ms / DAY_MS / hours
            say(
                f"{number} runs from SEED={first_seed} to {seed}, {findings} findings; in an hour "
                f"{number / hours:.0f} runs and {days:.0f} simulated days"
            )
        if is_over:
            break
    if not is_first:
        rare = [f"{' and '.join(pair)} {met}" for pair, met in pairs.most_common() if met < _RARE]
        say(f"{len(pairs)} pairs of features, {len(rare)} in fewer than {_RARE} runs: {', '.join(rare[-5:])}")
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", action="store_true", help="stop at the first finding, and do not shrink it"
    )
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sys.exit(bool(simulate(asked.seconds, asked.seed, is_first=asked.first)))


if __name__ == "__main__":
    main()
