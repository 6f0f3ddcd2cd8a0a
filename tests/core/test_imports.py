"""The packages that the core and a start of the service import."""

from tests.processes import run_python

HEAVY = "{'scipy.optimize', 'scipy.special', 'scipy.stats', 'sklearn', 'rich'}"


def test_core_imports_scipy_special_alone_and_at_first_use():
    program = (
        "import sys, driftgauge.core.local; "
        "from driftgauge.core.statistics.nulls.tails import student_quantile; "
        f"before = {HEAVY} & set(sys.modules); student_quantile(0.5, 3); "
        f"print(before, {HEAVY} & set(sys.modules))"
    )
    assert run_python(program).stdout.strip() == "set() {'scipy.special'}"


def test_start_imports_neither_scipy_nor_scikit_learn():
    program = (
        "import sys, driftgauge.cli.service, driftgauge.app; "
        f"print(({HEAVY} | {{'scipy'}}) & set(sys.modules))"
    )
    assert run_python(program).stdout.strip() == "set()"
