"""`make simulate`: draw plans for a while, check each, and shrink what is found to a test."""

import logging
import sys
from collections import Counter
from functools import partial
from itertools import combinations, count
from time import process_time

from tests.builders.clocks import DAY_MS
from tests.options import parse_options
from tests.output import say
from tests.simulation.checking import as_test, check, find, shrink
from tests.simulation.plan import PAIRS, draw

_RARE = 20


def simulate(seconds: float, first_seed: int, *, is_first: bool) -> int:
    """Check plans for seconds of processor time, or up to the first finding; return how many there are."""
    began_s = process_time()
    simulated_ms = findings = 0
    pairs: Counter[tuple[str, ...]] = Counter(dict.fromkeys(PAIRS, 0))
    for number, seed in enumerate(count(first_seed), start=1):
        plan, find_it = draw(seed), partial(find, seed)
        pairs.update(combinations(sorted(plan.features), 2))
        try:
            simulated_ms += check(plan, seed)
        except Exception:  # noqa: BLE001 - an error of the service is a finding as well
            findings += 1
            if is_first:
                say(f"SEED={seed}: {find_it(plan)}")
                break
            say(f"Finding with SEED={seed}: {find_it(plan)}\n\n{as_test(shrink(plan, find_it, 120.0))}")
        hours = (process_time() - began_s) / 3600
        is_over = hours * 3600 >= seconds
        if is_over or number % 50 == 0:
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
    # `--first` stops at the first finding, and does not shrink it.
    options = parse_options(__doc__, seconds=600.0, seed=0, first=False)
    logging.disable(logging.CRITICAL)
    sys.exit(bool(simulate(options.seconds, options.seed, is_first=options.first)))


if __name__ == "__main__":
    main()
