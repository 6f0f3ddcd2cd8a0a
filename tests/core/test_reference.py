"""References: baselines and their segments."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.reference import SegmentReference
from tests.builders.references import FIRST, OTHER, build_reference


@pytest.mark.parametrize(("distance", "outliers"), [(0.1, False), (0.2, True), (0.6, True)])
def test_outliers_are_beyond_radius_of_own_cluster(distance, outliers):
    reference = replace(FIRST, radii=np.array([9, 0.15, 9, 0.01], dtype=np.float32))
    vectors = np.eye(4, dtype=np.float32)[[1, 0]]
    vectors[0, 2] = distance
    vectors[1, 2] = distance
    assert reference.are_outliers(vectors, np.array([1, 0])).tolist() == [outliers, False]


def test_segments_by_keeps_order_of_keys():
    names = [("device", "phone"), ("country", "de"), ("device", "other"), ("country", "other")]
    segments = [
        SegmentReference(*name, np.ones(4), np.zeros(2), np.eye(2), 0, (None, None)) for name in names
    ]
    reference = build_reference(segments=tuple(segments))
    for keys, expected in {
        (): [],
        ("country",): [1, 3],
        ("country", "device"): [1, 3, 0, 2],
        ("colour",): [],
    }.items():
        assert reference.segments_by(keys) == tuple(segments[index] for index in expected)


def test_key_is_start_of_identity():
    reference = replace(FIRST, baseline_id="sha256:0123456789abcdef0123")
    assert reference.key == "0123456789abcdef"
    assert FIRST.key != OTHER.key
