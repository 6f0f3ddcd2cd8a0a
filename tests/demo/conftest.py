"""Fixtures of the demo's tests: its broker, and the digits and their network, made once."""

from collections.abc import Iterator

import pytest
from deploy.demo.config import TOPICS
from deploy.demo.digits import DigitSplit
from deploy.demo.embedded_broker import EmbeddedBroker
from deploy.demo.network import Network, train

from tests.builders.days import SPLIT


@pytest.fixture(scope="session")
def split() -> DigitSplit:
    return SPLIT


@pytest.fixture(scope="session")
def network(split: DigitSplit) -> Network:
    return train(split.training, 0)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker
