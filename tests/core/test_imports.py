"""The packages that the core imports."""

import subprocess
import sys


def test_core_imports_neither_scipy_stats_nor_scipy_optimize():
    program = (
        "import sys, driftgauge.core.local; "
        "print(sorted({'scipy.optimize', 'scipy.special', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['scipy.special']"
