"""Fixtures that take seconds to make, made once."""

import pytest
from deploy.demo.digits import DigitSplit
from deploy.demo.network import Network, train

from tests.builders.days import SPLIT


@pytest.fixture(scope="session")
def split() -> DigitSplit:
    return SPLIT


@pytest.fixture(scope="session")
def network(split: DigitSplit) -> Network:
    return train(split.training, 0)
