"""Baselines, as counting and comparing know them."""

import numpy as np

from driftgauge.core.reference import Reference
from tests.core.builders import FIRST, OTHER


def test_the_key_is_the_beginning_of_the_identity():
    reference = Reference("sha256:0123456789abcdef0123", FIRST.centroids, np.array([1]), b"")
    assert reference.key == "0123456789abcdef"
    assert FIRST.key != OTHER.key
