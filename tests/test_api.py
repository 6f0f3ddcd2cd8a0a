"""The public Python interface: the examples of the documentation, and the errors."""

import re
from pathlib import Path

import numpy as np
import pytest

from driftgauge import api
from tests.builders.baselines import save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.builders.references import CLUSTERS
from tests.builders.results import plain

README = Path(__file__).parents[1] / "service" / "README.md"


def read_examples() -> list[str]:
    """Return the code blocks of the section on the interface."""
    (_, section) = README.read_text("utf-8").split("\n## Using it from Python\n")
    return re.findall(r"^```python\n(.*?)^```", section.split("\n## ")[0], re.DOTALL | re.MULTILINE)


def test_examples_of_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in read_examples():
        exec(compile(block, README.name, "exec"), names)  # noqa: S102 - the project's own document
    assert names["clean"].p_value > 0.1
    assert names["dark"].js_excess > 0.2
    assert names["event"].vector.tolist() == names["images"][0].tolist()
    assert names["refused"].reason is api.Reason.INVALID
    assert names["result"].score is not None
    assert not +names["replay"].rejected


def test_score_equals_score_of_service(tmp_path):
    baseline = save_baseline(tmp_path)
    clusters = [0, 1, 2, 3, 3, 0, 0]
    path = write_events(tmp_path / "events.jsonl", [build_event(MONDAY_MS, cluster) for cluster in clusters])
    replay = api.build_replay(write_config(tmp_path, {"windows": ["1h"]}), {})
    (result,) = replay.run([path])
    vectors = np.full((len(clusters), CLUSTERS), 0.1, np.float32)
    vectors[np.arange(len(clusters)), clusters] = 0.9
    assert result.window.size_ms == HOUR_MS
    assert plain(api.score_vectors(baseline, vectors)) == plain(result.score)


@pytest.mark.parametrize("shape", [(0, CLUSTERS), (5, CLUSTERS + 1), (CLUSTERS,)])
def test_vectors_of_other_shape_are_refused(tmp_path, shape):
    with pytest.raises(
        api.DriftgaugeError, match=rf"shape \({shape[0]},.*; give at least one row of 4 numbers"
    ):
        api.score_vectors(save_baseline(tmp_path), np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vector_without_nearest_centroid_is_refused(tmp_path, value):
    vectors = np.zeros((3, CLUSTERS), np.float32)
    vectors[1] = value
    with pytest.raises(api.DriftgaugeError, match=r"^row 1 of the vectors is not finite, or too large"):
        api.score_vectors(save_baseline(tmp_path), vectors)


def test_environment_overrides_configuration_of_replay(tmp_path):
    save_baseline(tmp_path)
    with pytest.raises(api.DriftgaugeError, match=r"http\.port"):
        api.build_replay(write_config(tmp_path), {"DRIFTGAUGE_HTTP__PORT": "none"})
