"""Fixtures of the demo's tests: its broker, and the digits and their network, made once."""

from collections.abc import Iterator

import pytest
from deploy.demo.config import TOPICS
from deploy.demo.digits import DigitSplit, split_digits
from deploy.demo.network import Network, train

from tests.harness.demo import EmbeddedBroker


@pytest.fixture(scope="session")
def split() -> DigitSplit:
    return split_digits(0)


@pytest.fixture(scope="session")
def network(split: DigitSplit) -> Network:
    return train(split.training, 0)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker
