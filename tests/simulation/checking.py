"""All checks of one plan: its run, what people see of it, and its relations."""

import traceback
from collections.abc import Callable

from tests.simulation.oracles import check_settled
from tests.simulation.plan import START_MS, Plan
from tests.simulation.relations import RELATIONS, check_relation, check_rounds
from tests.simulation.run import Run
from tests.simulation.view import check_view

__all__ = ["check", "finder"]

_RELATIONS = 2  # of a calm plan


def check(plan: Plan, seed: int = 0) -> int:
    """Check a plan's run; return the simulated time, ms.

    Args:
        plan: The plan.
        seed: It chooses the relations of a calm plan, and what they draw.

    Raises:
        Exception: Something does not hold, or the service fails.
    """
    run = Run(plan, check_view).carry_out()
    check_settled(run)
    check_rounds(run)
    if plan.is_calm:
        for number in range(_RELATIONS):
            check_relation(run, RELATIONS[(seed + 4 * number) % len(RELATIONS)], seed)
    return run.now_ms - START_MS


def finder(seed: int) -> Callable[[Plan], str | None]:
    """Return a function of a plan that says in a line what does not hold; None where all holds."""

    def find(plan: Plan) -> str | None:
        try:
            check(plan, seed)
        except Exception as error:  # noqa: BLE001 - an error of the service is a finding as well
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} in {where.name}, {str(error).partition(':')[0]}: {error}"
        return None

    return find
