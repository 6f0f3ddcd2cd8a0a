"""The packages that the core imports."""

from tests.processes import run_python


def test_core_imports_neither_scipy_stats_nor_scipy_optimize():
    program = (
        "import sys, driftgauge.core.local; "
        "print(sorted({'scipy.optimize', 'scipy.special', 'scipy.stats'} & set(sys.modules)))"
    )
    assert run_python(program).stdout.strip() == "['scipy.special']"
