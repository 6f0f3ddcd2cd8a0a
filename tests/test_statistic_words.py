"""Every statistic, kind of drift and number of a result has its words."""

import numpy as np

from driftgauge import api
from driftgauge.core.statistics import registry
from driftgauge.statistic_words import WORDS, words_of_kind
from tests.builders.baselines import fit

# So long that they vary along minor components too.
VECTORS = np.random.default_rng(0).standard_normal((2_000, 64)).astype(np.float32)


def test_each_statistic_kind_and_number_has_words():
    findings = api.score_vectors(fit(VECTORS), VECTORS[:500]).findings
    numbers = {each.name: list(each.numbers(findings.of(each))) for each in registry.STATISTICS}
    assert {name: list(words.numbers) for name, words in WORDS.items()} == numbers
    assert [words_of_kind(each.kind) for each in registry.STATISTICS] == list(WORDS.values())
