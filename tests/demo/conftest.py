"""The parts of the story that take seconds to make, made once."""

import pytest
from deploy.demo.digits import Split
from deploy.demo.network import Network, train

from tests.demo.builders import SPLIT


@pytest.fixture(scope="session")
def split() -> Split:
    return SPLIT


@pytest.fixture(scope="session")
def network(split: Split) -> Network:
    return train(split.training, 0)
