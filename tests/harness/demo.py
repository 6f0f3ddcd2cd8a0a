"""What the tests share with the demo: its embedded broker and its parser of /metrics."""

from deploy.demo.embedded_broker import EmbeddedBroker
from deploy.demo.scrape import Scrape

__all__ = ["EmbeddedBroker", "Scrape"]
