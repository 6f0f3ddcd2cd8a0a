"""False pages, power and delay of the verdict: `python tests/bench/verdicts.py [pages] [power] [weeks]`.

The CIFAR-10 embeddings are the population. See `verdict_pages`, `verdict_power` and `verdict_weeks`.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.population import CLUSTERS, EMBEDDINGS, Population  # noqa: E402
from tests.bench.verdict_pages import pages  # noqa: E402
from tests.bench.verdict_power import power  # noqa: E402
from tests.bench.verdict_weeks import weeks  # noqa: E402

from driftgauge.baseline.fitting import fit_baseline  # noqa: E402


def main() -> None:
    if not EMBEDDINGS.exists():
        sys.exit("the CIFAR-10 embeddings are not at hand: nothing is measured")
    with np.load(EMBEDDINGS) as archive:
        labels = archive["test_label"]
        names = ("train", "test", "blurred", "darkened", "blurred_mild", "darkened_mild")
        data = {name: archive[name].astype(np.float32) for name in names}
    wanted = sys.argv[1:] or ["weeks", "power", "pages"]
    if "weeks" in wanted:
        weeks(data)
    if "power" in wanted:
        power(data)
    if "pages" in wanted:
        vectors = data["test"][np.argsort(labels, kind="stable")]
        fitted = fit_baseline(
            vectors,
            stream="bench",
            model_version=None,
            clusters=CLUSTERS,
            created_ms=0,
            progress=lambda _: None,
        )
        pages(Population(vectors, fitted.centroids.assign(vectors), fitted.centroids))


if __name__ == "__main__":
    main()
