"""References: baselines and their segments."""

from dataclasses import replace

import numpy as np

from driftgauge.core.reference import SegmentReference
from tests.builders.references import FIRST, OTHER, build_reference, build_segment_arrays


def test_segments_by_keeps_order_of_keys():
    names = [("device", "phone"), ("country", "de"), ("device", "other"), ("country", "other")]
    segments = [
        SegmentReference(*name, np.ones(4), np.zeros(2), np.eye(2), build_segment_arrays()) for name in names
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
