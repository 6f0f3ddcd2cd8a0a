"""Tests of `driftgauge.baseline.texts`."""

import numpy as np
import pytest

from driftgauge.baseline import texts
from driftgauge.baseline.texts import TextSample


def test_sample_holds_beginnings_of_texts_with_their_rows() -> None:
    sample = TextSample()
    sample.add(["a" * 2_000, None])
    sample.add(["b"])
    assert sample.rows.tolist() == [0, 2]
    assert sample.texts == ["a" * 1_000, "b"]
    assert len(sample) == 2


def test_sample_is_bounded_even_and_the_same_for_any_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_TEXTS", 400)
    words = [None if row % 5 == 0 else str(row) for row in range(20_000)]
    sample, parts = TextSample.of(words), TextSample()
    assert [words[row] for row in sample.rows.tolist()] == sample.texts
    assert len(set(sample.rows.tolist())) == len(sample) == 400
    quarters = np.bincount(sample.rows // 5_000, minlength=4)
    assert quarters.min() > 70, "each row has the same chance"
    for start in range(0, 20_000, 777):
        parts.add(words[start : start + 777])
    assert parts.rows.tolist() == sample.rows.tolist()
